"""The judge: it shares no code with the ledger beyond the pure parts."""

from .judge import verify_store
from .proof_check import judge_extension, judge_receipt
from .report import LogReport, Outcome, Problem, Report
from .trust import VerifyRequest

__all__ = [
    "LogReport",
    "Outcome",
    "Problem",
    "Report",
    "VerifyRequest",
    "judge_extension",
    "judge_receipt",
    "verify_store",
]
