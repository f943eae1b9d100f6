# SPDX-License-Identifier: MIT
#
# Settings of every target in this tree. They are directory-scoped variables, so a project that
# adds quoit as a subdirectory does not inherit them; what would override its choices is set only
# when quoit is the top project.

set(CMAKE_CXX_EXTENSIONS OFF)

if(PROJECT_IS_TOP_LEVEL)
    if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
        set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo" FORCE)
    endif()
    set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

    if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
        find_program(QUOIT_CCACHE ccache)
        mark_as_advanced(QUOIT_CCACHE)
        if(QUOIT_CCACHE)
            # Precompiled headers (of the tests) are cached only when told that their macros and
            # times need not be looked at (ccache(1), "Precompiled headers").
            set(CMAKE_CXX_COMPILER_LAUNCHER
                ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
                "${QUOIT_CCACHE}")
        endif()
    endif()
endif()

# What most sources include, parsed once: a third of what compiling the library takes. A source that
# forgets an include compiles all the same, so one preset at least does without (clang, release).
function(quoit_precompile target)
    if(QUOIT_PRECOMPILE_HEADERS)
        target_precompile_headers(${target} PRIVATE
            <algorithm> <array> <atomic> <chrono> <coroutine> <expected> <functional> <map>
            <memory> <mutex> <optional> <span> <string> <system_error> <thread> <utility> <vector>)
    endif()
endfunction()
