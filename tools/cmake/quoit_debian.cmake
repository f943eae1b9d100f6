# SPDX-License-Identifier: MIT
#
# cpack: the Debian packages libquoit-dev and quoit, one for each component. The preset package is
# made for it: its prefix is /usr, so the library goes to the architecture's folder.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME quoit)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
# The first line of each component's description is its summary; this would be put before it.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_PACKAGE_CONTACT "The quoit authors <quoit@packages.invalid>" CACHE STRING
    "Maintainer of the packages: NAME <ADDRESS>")
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
# What Debian wants beside what is installed: changelogs, copyright, compressed pages.
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/tools/cmake/package/debian_files.cmake")
set(CPACK_QUOIT_SOURCE_DIR "${PROJECT_SOURCE_DIR}")
set(CPACK_QUOIT_STRIP "${CMAKE_STRIP}")

set(CPACK_COMPONENTS_ALL development)
if(TARGET quoit_program)
    list(APPEND CPACK_COMPONENTS_ALL program)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libquoit-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
if(QUOIT_WITH_IO_URING)
    set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "liburing-dev (>= ${QUOIT_LIBURING_VERSION})")
endif()
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS "g++ (>= 4:12)")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS "cmake (>= 3.25), pkg-config, nlohmann-json3-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "UDP datagram engine for Linux, static C++ library
One io_uring per worker receives into provided buffers; a thin facade with
the semantics of Python's asyncio makes coroutines, callbacks and blocking
calls of that. Where io_uring is not allowed, the same program runs on epoll
and says why. Every datagram is accounted for.
.
This package has the headers (C++23), the static library, and what CMake and
pkg-config need to find them.")

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME quoit)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "UDP echo server and load generator
Answers every datagram, or drives a server that does: rate, loss, reordering
and round trips, timed from the intended send, and a ledger of where each
datagram went. It also has both ends of packets over TCP.
.
It stands on the datagram engine of the same name, with io_uring or epoll.")

include(CPack)
