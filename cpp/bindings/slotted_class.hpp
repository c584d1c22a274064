// Making many values of a Python class at once.
#pragma once

#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace fleetmesh::bindings {

// Instances of a class with slots, filled without its __init__: there can be thousands of them, and nothing
// of them is left to be checked.
class SlottedClass {
 public:
  SlottedClass(const pybind11::type& type, std::initializer_list<const char*> names)
      : type_(reinterpret_cast<PyTypeObject*>(type.ptr())) {
    for (const char* name : names) {
      pybind11::object slot = type.attr("__dict__")[name];
      if (!Py_TYPE(slot.ptr())->tp_descr_set)
        throw pybind11::type_error(std::string("the class has no slot '") + name + "'");
      slots_.push_back(std::move(slot));
    }
  }

  pybind11::object make(std::initializer_list<pybind11::handle> values) const {
    auto instance = pybind11::reinterpret_steal<pybind11::object>(type_->tp_alloc(type_, 0));
    if (!instance) throw pybind11::error_already_set();
    auto value = values.begin();
    for (const auto& slot : slots_)
      if (Py_TYPE(slot.ptr())->tp_descr_set(slot.ptr(), instance.ptr(), (value++)->ptr()) < 0)
        throw pybind11::error_already_set();
    // Strings, numbers and tuples of them form no cycle; the collector need not look at thousands of these.
    PyObject_GC_UnTrack(instance.ptr());
    return instance;
  }

 private:
  PyTypeObject* type_;
  std::vector<pybind11::object> slots_;
};

}  // namespace fleetmesh::bindings
