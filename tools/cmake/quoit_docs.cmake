# SPDX-License-Identifier: MIT
#
# The target docs: the reference of the public headers, in BUILD/docs/html. Needs doxygen.

find_program(QUOIT_DOXYGEN doxygen)
mark_as_advanced(QUOIT_DOXYGEN)

set(QUOIT_DOCS_DIR "${PROJECT_BINARY_DIR}/docs")
configure_file("${PROJECT_SOURCE_DIR}/docs/Doxyfile.in" "${QUOIT_DOCS_DIR}/Doxyfile" @ONLY)
if(QUOIT_DOXYGEN)
    add_custom_target(docs
        COMMAND "${QUOIT_DOXYGEN}" "${QUOIT_DOCS_DIR}/Doxyfile"
        COMMENT "The reference goes to ${QUOIT_DOCS_DIR}/html/index.html"
        VERBATIM)
endif()
