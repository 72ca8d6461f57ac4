"""Certificates of amplitude encoding circuits."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS: tuple[CertifierSpec, ...] = ()
