# SPDX-License-Identifier: MIT
#
# How tests are registered. A test's name in ctest is AREA/suite.Claim, so that the output of
# `ctest -N` reads like a specification.

include(GoogleTest)

set(QUOIT_TEST_TIMEOUT_S 120)
option(QUOIT_TEST_WHOLE_PROGRAMS "One ctest test for each test program, not for each TEST" OFF)
set(QUOIT_TEST_PROGRAMS "" CACHE STRING
    "Build only the test programs that match this regular expression; empty: all")
# What a script exits with when it cannot run here; it says why on standard output.
set(QUOIT_TEST_SKIP_CODE 77)

# quoit_add_test(NAME base_test SOURCES file.cpp... [LABELS label...] [LIBRARIES target...]
#                [RUN_SERIAL])
#
# One GoogleTest program per area (linking costs more than compiling here), one ctest test per
# TEST. Private headers of the engine and tests/ are on the include path. NAME minus "_test" is the
# area. RUN_SERIAL: no other test runs meanwhile; for those that need the whole machine.
function(quoit_add_test)
    cmake_parse_arguments(PARSE_ARGV 0 arg "RUN_SERIAL" "NAME" "SOURCES;LABELS;LIBRARIES")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME OR NOT arg_SOURCES)
        message(FATAL_ERROR "quoit_add_test: NAME and SOURCES are needed, "
            "'${arg_UNPARSED_ARGUMENTS}' is not known")
    endif()

    if(QUOIT_TEST_PROGRAMS AND NOT arg_NAME MATCHES "${QUOIT_TEST_PROGRAMS}")
        return()
    endif()
    add_executable(${arg_NAME} ${arg_SOURCES})
    target_link_libraries(${arg_NAME} PRIVATE quoit_test_support ${arg_LIBRARIES})
    target_precompile_headers(${arg_NAME} REUSE_FROM quoit_test_headers)

    string(REGEX REPLACE "_test$" "" area "${arg_NAME}")
    set(properties TIMEOUT ${QUOIT_TEST_TIMEOUT_S})
    if(arg_RUN_SERIAL)
        list(APPEND properties RUN_SERIAL TRUE)
    endif()
    if(QUOIT_TEST_WHOLE_PROGRAMS)
        # Thousands of processes less: under a sanitizer starting one takes longer than most tests.
        add_test(NAME ${area} COMMAND ${arg_NAME})
        math(EXPR timeout "${QUOIT_TEST_TIMEOUT_S} * 4")
        set_tests_properties(${area} PROPERTIES ${properties} TIMEOUT ${timeout} LABELS "${area}"
            ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan_suppressions.txt")
        return()
    endif()
    # NO_PRETTY_VALUES: parameters are named by the test (".../io_uring"), not printed.
    gtest_discover_tests(${arg_NAME}
        NO_PRETTY_VALUES
        DISCOVERY_MODE PRE_TEST
        DISCOVERY_TIMEOUT 60
        TEST_PREFIX "${area}/"
        TEST_LIST ${arg_NAME}_tests
        PROPERTIES ${properties})

    # gtest_discover_tests() cannot hand on a list as the value of a property, so ctest sets the
    # labels once it has read the list of tests.
    set(labels_file "${CMAKE_CURRENT_BINARY_DIR}/${arg_NAME}_labels.cmake")
    file(CONFIGURE OUTPUT "${labels_file}" @ONLY CONTENT [[
foreach(test IN LISTS @arg_NAME@_tests)
    set_tests_properties("${test}" PROPERTIES LABELS "@area@;@arg_LABELS@")
endforeach()
]])
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${labels_file}")
endfunction()

# quoit_add_python_test(NAME area/claim SCRIPT file.py [ARGS argument...] [LABELS label...]
#                       [RUN_SERIAL])
#
# Runs SCRIPT with ARGS, which may hold generator expressions such as $<TARGET_FILE:...>. It passes
# with exit status 0 and is skipped with 77.
function(quoit_add_python_test)
    cmake_parse_arguments(PARSE_ARGV 0 arg "RUN_SERIAL" "NAME;SCRIPT" "ARGS;LABELS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME OR NOT arg_SCRIPT)
        message(FATAL_ERROR "quoit_add_python_test: NAME and SCRIPT are needed, "
            "'${arg_UNPARSED_ARGUMENTS}' is not known")
    endif()

    add_test(NAME ${arg_NAME}
        COMMAND Python3::Interpreter "${CMAKE_CURRENT_SOURCE_DIR}/${arg_SCRIPT}" ${arg_ARGS})
    set_tests_properties(${arg_NAME} PROPERTIES
        TIMEOUT ${QUOIT_TEST_TIMEOUT_S}
        SKIP_RETURN_CODE ${QUOIT_TEST_SKIP_CODE}
        ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1;PYTHONUNBUFFERED=1"
        LABELS "${arg_LABELS}"
        RUN_SERIAL ${arg_RUN_SERIAL})
endfunction()
