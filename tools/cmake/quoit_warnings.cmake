# SPDX-License-Identifier: MIT
#
# quoit_warnings: link it PRIVATE to every target of this tree, so that the warnings are ours and
# never reach the users of the library.

add_library(quoit_warnings INTERFACE)
target_compile_options(quoit_warnings INTERFACE
    -Wall
    -Wextra
    -Wpedantic
    -Wconversion
    -Wshadow
    $<$<BOOL:${QUOIT_WARNINGS_AS_ERRORS}>:-Werror>)
