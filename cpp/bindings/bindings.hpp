// One function for each subject; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace fleetmesh::bindings {

void register_build(pybind11::module_& module);

}  // namespace fleetmesh::bindings
