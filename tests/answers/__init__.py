"""
Machines that answer.
"""
