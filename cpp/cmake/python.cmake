# The extension module fleetmesh._core: the only part of the build that knows Python.
set(PYBIND11_FINDPYTHON ON)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 3 CONFIG REQUIRED)

# A digest of all sources is compiled in, so that a test can tell a stale build.
set(digest_header ${CMAKE_CURRENT_BINARY_DIR}/generated/source_digest.hpp)
file(GLOB_RECURSE digest_sources CONFIGURE_DEPENDS
  cpp/include/* cpp/src/* cpp/datapath/* cpp/bindings/*)
add_custom_command(
  OUTPUT ${digest_header}
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_CURRENT_SOURCE_DIR}/cpp -DOUTPUT=${digest_header}
          -P ${CMAKE_CURRENT_SOURCE_DIR}/cpp/cmake/source_digest.cmake
  DEPENDS ${digest_sources} cpp/cmake/source_digest.cmake
  VERBATIM)

file(GLOB binding_sources CONFIGURE_DEPENDS cpp/bindings/*.cpp)
pybind11_add_module(_core MODULE NO_EXTRAS ${binding_sources} ${digest_header})
target_include_directories(_core PRIVATE cpp/bindings ${CMAKE_CURRENT_BINARY_DIR}/generated)
target_link_libraries(_core PRIVATE fleetmesh_core)
fleetmesh_warnings(_core)
install(TARGETS _core LIBRARY DESTINATION fleetmesh COMPONENT python)
# `fleetmesh demo` runs one of the examples; an editable install finds them in the checkout.
if(NOT SKBUILD_STATE STREQUAL "editable")
  install(DIRECTORY examples/ DESTINATION fleetmesh/_examples COMPONENT python)
endif()
