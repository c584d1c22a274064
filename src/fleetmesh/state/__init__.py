"""
The state of a mesh outside of the process, in Cilium's wire format.
"""
