"""`carscribe doctor`: what stands in the way on this machine, and whether a checkpoint says here what it says alone.

    facts of the machine ─ machine.py, probe.py ─> checks ─ host.py, gpu.py, hub.py ─> findings ─ report.py
    a checkpoint and photos ─ expected.py, alone.py ─> comparisons ─ fidelity.py ─> findings, a page ─ page.py

A tool above the stages, as `carscribe.pipeline` is: it uses their public parts, and none of them knows of it.
"""
