"""IQM's devices through iqm-client: its noisy snapshots of them, simulated in this process.

`devices` are the snapshots, `engine` is the engine.
"""
