# SPDX-License-Identifier: MIT
#
# Finds liburing. Sets liburing_FOUND and liburing_VERSION, and defines liburing::liburing.
#
# The version comes from pkg-config. Without it, it is read from liburing/io_uring_version.h,
# which exists since liburing 2.4; an installation that has neither counts as too old.

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(PC_liburing QUIET liburing)
endif()

find_path(liburing_INCLUDE_DIR NAMES liburing.h HINTS ${PC_liburing_INCLUDE_DIRS})
find_library(liburing_LIBRARY NAMES uring HINTS ${PC_liburing_LIBRARY_DIRS})
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)

set(liburing_VERSION "${PC_liburing_VERSION}")
set(_liburing_version_header "${liburing_INCLUDE_DIR}/liburing/io_uring_version.h")
if(NOT liburing_VERSION AND EXISTS "${_liburing_version_header}")
    file(STRINGS "${_liburing_version_header}" _liburing_version_lines
        REGEX "define IO_URING_VERSION_(MAJOR|MINOR)")
    string(REGEX REPLACE ".*MAJOR[ \t]+([0-9]+).*MINOR[ \t]+([0-9]+).*" "\\1.\\2"
        liburing_VERSION "${_liburing_version_lines}")
    unset(_liburing_version_lines)
endif()
unset(_liburing_version_header)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(liburing
    REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR liburing_VERSION
    VERSION_VAR liburing_VERSION)

if(liburing_FOUND AND NOT TARGET liburing::liburing)
    add_library(liburing::liburing UNKNOWN IMPORTED)
    set_target_properties(liburing::liburing PROPERTIES
        IMPORTED_LOCATION "${liburing_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${liburing_INCLUDE_DIR}")
endif()
