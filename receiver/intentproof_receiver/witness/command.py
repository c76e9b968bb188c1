"""The command `witness`: serve one, and print its vkey."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn

from ..config import Config, load
from ..exposure import check_exposure
from ..http_listener import HttpServer, bind
from ..logs import configure, log
from ..tls import Certificates, tls_files
from .app import Witness, make_app
from .key import STATE_FILE, load_cosigner
from .logs import KnownLogs
from .state import WitnessState

_OK = 0
_ADDRESS = "127.0.0.1:4319"
_CONNECTIONS_MAX = 256
_DRAIN_SECONDS = 10
_log = logging.getLogger(__name__)


def register(subparsers: Any) -> None:
    """Add `witness` to the command line."""
    parser = subparsers.add_parser("witness", help="cosign the checkpoints of others' logs")
    commands = parser.add_subparsers(dest="witness_command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="answer C2SP tlog-witness over HTTP")
    serve.add_argument("--http", metavar="HOST:PORT", default=_ADDRESS, help=f"default {_ADDRESS}")
    serve.add_argument(
        "--log",
        dest="logs",
        type=Path,
        action="extend",
        nargs="+",
        required=True,
        metavar="VKEYS_FILE",
        help="keys of the logs to cosign for, one vkey a line; read again when they change",
    )
    serve.add_argument("--name", help="such as witness.example/1; kept in --home from then on")
    serve.add_argument("--tls-certificate", metavar="FILE", help="PEM chain; turns on TLS")
    serve.add_argument("--tls-key", metavar="FILE", help="PEM key of the certificate")
    serve.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="listen beyond loopback without TLS: names and sizes of logs cross in clear",
    )
    serve.set_defaults(run=run_serve)
    key = commands.add_parser("key", help="print the witness's vkey")
    key.add_argument("--name", help="makes the key where there is none")
    key.set_defaults(run=run_key)


def run_key(args: argparse.Namespace) -> int:
    """Print the vkey, alone, on stdout."""
    sys.stdout.write(load_cosigner(args.home, args.name).witness_key.vkey() + "\n")
    return _OK


def run_serve(args: argparse.Namespace) -> int:
    """Cosign until SIGTERM or SIGINT."""
    flags = {key: getattr(args, key) for key in ("http", "tls_certificate", "tls_key", "insecure")}
    # Not of the environment: what a receiver on this machine is told is not meant for a witness.
    config = load(environ={}, flags=flags)
    check_exposure(config)
    cosigner = load_cosigner(args.home, args.name)
    logs = KnownLogs(args.logs)
    state = WitnessState(args.home / STATE_FILE)
    try:
        configure("info")
        if (args.home / "signing.key").exists():
            log(
                _log,
                logging.WARNING,
                "home_of_a_receiver",
                mend="who holds both keys vouches for himself: give the witness a --home and an "
                "operator of its own",
            )
        witness = Witness(cosigner, state, logs.keys, clock_s=lambda: int(time.time()))
        asyncio.run(_serve(config, witness, cosigner.witness_key.vkey()))
    finally:
        state.close()
    return _OK


async def _serve(config: Config, witness: Witness, vkey: str) -> None:
    files = tls_files(config)
    certificates = None if files is None else Certificates(files)
    listener = bind(config.http)
    try:
        settings = uvicorn.Config(
            make_app(witness),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ws="none",
            limit_concurrency=_CONNECTIONS_MAX,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = HttpServer(settings, certificates)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        answering = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        host = config.http.rpartition(":")[0]
        log(
            _log,
            logging.INFO,
            "ready",
            http=f"{host}:{listener.getsockname()[1]}",
            tls="off" if certificates is None else "server",
            vkey=vkey,
            pid=os.getpid(),
        )
        await stop.wait()
        server.should_exit = True
        await answering
    finally:
        listener.close()
    log(_log, logging.INFO, "closed")
