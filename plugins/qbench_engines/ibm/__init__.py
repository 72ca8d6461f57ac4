"""IBM devices through qiskit-ibm-runtime, and the same code on its fake ones.

`engine` is the engine, `programs` compiles circuits, `service` is the only module that talks to
IBM, `messages` says what its errors mean, and `local` runs fake devices in this process.
"""
