# SPDX-License-Identifier: MIT
#
# cmake --install. Two components:
#
#   development  headers, libquoit.a, the config package, quoit.pc
#   program      bin/quoit, its manual page, completion for bash
#
# Nothing that is installed knows where it was built, or where it was installed: the tree may be
# moved.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(quoit_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/quoit")
set(quoit_generated_dir "${CMAKE_CURRENT_BINARY_DIR}/package")

install(TARGETS quoit
    EXPORT quoit-targets
    ARCHIVE COMPONENT development
    FILE_SET HEADERS COMPONENT development
    FILE_SET json_headers COMPONENT development)
install(EXPORT quoit-targets
    NAMESPACE quoit::
    DESTINATION "${quoit_package_dir}"
    COMPONENT development)

if(QUOIT_WITH_IO_URING)
    set(QUOIT_WITH_IO_URING_VALUE TRUE)
    set(QUOIT_PC_REQUIRES "liburing >= ${QUOIT_LIBURING_VERSION}")
    install(FILES "${PROJECT_SOURCE_DIR}/tools/cmake/Findliburing.cmake"
        DESTINATION "${quoit_package_dir}/modules"
        COMPONENT development)
else()
    set(QUOIT_WITH_IO_URING_VALUE FALSE)
    set(QUOIT_PC_REQUIRES "")
endif()
configure_package_config_file("${PROJECT_SOURCE_DIR}/tools/cmake/package/quoit-config.cmake.in"
    "${quoit_generated_dir}/quoit-config.cmake"
    INSTALL_DESTINATION "${quoit_package_dir}"
    NO_SET_AND_CHECK_MACRO)
# Before 1.0 a new minor version may change anything (semver.org, 4).
set(compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatibility SameMinorVersion)
endif()
write_basic_package_version_file("${quoit_generated_dir}/quoit-config-version.cmake"
    COMPATIBILITY ${compatibility})
install(FILES
    "${quoit_generated_dir}/quoit-config.cmake"
    "${quoit_generated_dir}/quoit-config-version.cmake"
    DESTINATION "${quoit_package_dir}"
    COMPONENT development)

# The way back from PREFIX/LIBDIR/pkgconfig to PREFIX. An absolute directory has none.
set(QUOIT_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(QUOIT_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
file(RELATIVE_PATH way_back "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" way_back "${way_back}")
set(QUOIT_PC_PREFIX "\${pcfiledir}/${way_back}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(QUOIT_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
    set(QUOIT_PC_LIBDIR "${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(QUOIT_PC_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/tools/cmake/package/quoit.pc.in"
    "${quoit_generated_dir}/quoit.pc" @ONLY)
install(FILES "${quoit_generated_dir}/quoit.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT development)

if(TARGET quoit_program)
    install(TARGETS quoit_program RUNTIME COMPONENT program)
    install(FILES "${PROJECT_SOURCE_DIR}/tools/quoit/completion.bash"
        DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions"
        RENAME quoit
        COMPONENT program)
endif()
if(TARGET quoit_manual)
    install(FILES "${PROJECT_BINARY_DIR}/tools/quoit.1"
        DESTINATION "${CMAKE_INSTALL_MANDIR}/man1"
        COMPONENT program)
endif()

if(PROJECT_IS_TOP_LEVEL)
    include(quoit_debian)
endif()
