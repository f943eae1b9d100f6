# SPDX-License-Identifier: MIT
#
# Completion of quoit(1) for bash. It asks the program's own --help, so it knows what that knows.

_quoit() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local -a command=("${COMP_WORDS[0]}")
    local index
    # The subcommands come first: quoit packets serve.
    for ((index = 1; index < COMP_CWORD; index++)); do
        [[ ${COMP_WORDS[index]} != -* ]] || break
        command+=("${COMP_WORDS[index]}")
    done
    if [[ $previous == --json ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    fi
    # Options, and the names below "Subcommands:", both indented by two.
    mapfile -t COMPREPLY < <(compgen -W "$("${command[@]}" --help 2>/dev/null |
        sed -nE 's/^  (-.,)?(--[a-z-]+).*/\2/p; /^Subcommands:/,/^$/s/^  ([a-z]+) .*/\1/p')" -- "$word")
}

complete -F _quoit quoit
