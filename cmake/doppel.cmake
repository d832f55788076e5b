# One static library a folder of src/, with the project's warnings, and the options that a build has.
option(DOPPEL_TESTS "build the tests" ON)
option(DOPPEL_FUZZ "build the libFuzzer targets (needs clang)" OFF)
set(DOPPEL_SANITIZE "" CACHE STRING "sanitizers to build with: address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache looks for macros in what goes into a precompiled header, not in each file that uses it.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
# Half of the time of a build would be spent on reading the same headers: what nearly all files have.
set(DOPPEL_COMMON_HEADERS <algorithm> <atomic> <chrono> <condition_variable> <functional> <map> <memory> <mutex> <optional>
  <span> <string> <string_view> <thread> <unordered_map> <vector> <fmt/format.h>)
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp") # so that ccache finds it again
endif()
# The code cache on disk tells by it which program made the code.
add_link_options(-Wl,--build-id)

find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Werror -fno-strict-aliasing)
if(DOPPEL_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  add_compile_options(-fsanitize=${DOPPEL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DOPPEL_SANITIZE})
endif()
if(DOPPEL_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(DOPPEL_VERIFY_IR)
endif()
if(DOPPEL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# doppel_library(FOLDER USES LIBRARY...): src/FOLDER and, for device, its subfolders.
function(doppel_library folder)
  cmake_parse_arguments(arg "" "" "USES" ${ARGN})
  string(REPLACE "/" "_" name ${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cc)
  if(NOT folder MATCHES optimizing)
    list(FILTER sources EXCLUDE REGEX /optimizing/) # a library of its own, which needs LLVM
  endif()
  if(sources)
    add_library(doppel_${name} STATIC ${sources})
    target_include_directories(doppel_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(doppel_${name} PUBLIC ${arg_USES})
    if(folder STREQUAL base)
      target_precompile_headers(doppel_base PRIVATE ${DOPPEL_COMMON_HEADERS})
    elseif(DOPPEL_SANITIZE AND folder STREQUAL guest/wasm)
      # Its tests take a second however it is built, and it takes minutes.
      target_compile_options(doppel_${name} PRIVATE -O0)
      target_precompile_headers(doppel_${name} PRIVATE ${DOPPEL_COMMON_HEADERS})
    else()
      target_precompile_headers(doppel_${name} REUSE_FROM doppel_base)
    endif()
  else()
    add_library(doppel_${name} INTERFACE)
    target_include_directories(doppel_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(doppel_${name} INTERFACE ${arg_USES})
  endif()
endfunction()
