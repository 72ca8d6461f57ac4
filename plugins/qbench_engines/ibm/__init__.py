"""IBM devices through qiskit-ibm-runtime, and the same code on its fake ones.

`engine` is the engine, `service` is the only module that talks to IBM, `sampler` the only one that
knows which Sampler there is, `messages` says what errors mean, `scrubbing` takes tokens out of
them, and `local` simulates fake devices in this process.
"""
