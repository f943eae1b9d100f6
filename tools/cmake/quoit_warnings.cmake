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

# GCC 12 with a sanitizer sees uninitialised reads inside std::expected's moves (GCC bug 105562 is one
# of a family): false, and gone without the sanitizer.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
    target_compile_options(quoit_warnings INTERFACE -Wno-maybe-uninitialized)
endif()
