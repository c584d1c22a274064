"""
What Services mean: annotations, frontends, endpoints, workloads, names and the merge's explanation.
"""
