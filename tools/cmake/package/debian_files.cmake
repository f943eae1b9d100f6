# SPDX-License-Identifier: MIT
#
# Run by cpack on what it has installed, before it packs: completes each component's tree with what
# Debian Policy wants (12.5 copyright, 12.7 changelogs, 12.1 compressed manual pages, 10.1 archives
# without debug information).

file(GLOB trees LIST_DIRECTORIES true "${CPACK_TEMPORARY_DIRECTORY}/*")
foreach(tree IN LISTS trees)
    cmake_path(GET tree FILENAME component)
    string(TOUPPER "${component}" key)
    set(package "${CPACK_DEBIAN_${key}_PACKAGE_NAME}")
    if(NOT package)
        continue()
    endif()
    set(documents "${tree}/usr/share/doc/${package}")

    file(READ "${CPACK_QUOIT_SOURCE_DIR}/LICENSE" license)
    file(WRITE "${documents}/copyright" "${license}")

    # SOURCE_DATE_EPOCH makes the date, and so the package, the same again.
    string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
    file(WRITE "${documents}/changelog" "\
quoit (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * Made by cpack. What is new stands in CHANGELOG.md.gz.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
    file(COPY "${CPACK_QUOIT_SOURCE_DIR}/CHANGELOG.md" DESTINATION "${documents}")

    file(GLOB pages "${tree}/usr/share/man/*/*.[1-9]")
    # -n: without the time, for the same reason.
    execute_process(COMMAND gzip -9n "${documents}/changelog" "${documents}/CHANGELOG.md" ${pages}
        COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB_RECURSE archives "${tree}/usr/lib/*.a")
    foreach(archive IN LISTS archives)
        execute_process(COMMAND "${CPACK_QUOIT_STRIP}" --strip-debug --enable-deterministic-archives
            "${archive}"
            COMMAND_ERROR_IS_FATAL ANY)
    endforeach()

    file(GLOB_RECURSE files "${tree}/usr/share/*")
    foreach(file IN LISTS files)
        file(CHMOD "${file}" PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
    endforeach()
endforeach()
