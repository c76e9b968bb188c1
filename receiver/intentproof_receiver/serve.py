"""The command `serve`: both servers on one event loop, from a bound port to a sealed store."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import uvicorn
from intentproof_store import (
    HomeInvalid,
    Ledger,
    LedgerBehind,
    LedgerLocked,
    LedgerSettings,
    LogNameChanged,
    Places,
)

from . import grpc_server, status_metrics
from .client_certificates import MappingStore
from .config import Config, load
from .cosigning import Cosigning, Sizes
from .credentials import authenticate
from .export import Exporter
from .exposure import check_exposure
from .fair import FairPool
from .grpc_health import GrpcHealth
from .http_listener import HttpServer, bind
from .http_server import make_app
from .https import CertificateProtocol
from .inflight import Budget
from .intake import Intake
from .keys import KeyStore
from .logs import configure, log
from .looplag import measure_loop
from .metrics import Metrics
from .native_output import NativeOutput
from .observation import make_tracer, show_pressure, tell_of_encodings
from .process import collecting_often, use_little_memory
from .receipts_http import Receipts
from .stamper import Stamper, make_stamper
from .status_metrics import Watched
from .tls import Certificates, tls_files
from .usage import Usage
from .watch import RequestTracer, WatchedIntake
from .witness_check import check_witnesses
from .witness_metrics import WitnessCollector

OK, INVALID, BLOCKED = 0, 6, 8
_FLAGS = ("grpc", "http", "tls_certificate", "tls_key", "tls_client_ca", "insecure")
# One wish may be two signals: timeout(1) sends one to the process and one to its group.
_IMPATIENT_SECONDS = 1.0
_log = logging.getLogger(__name__)


def register(subparsers: Any) -> None:
    """Add `serve` to the command line."""
    serve = subparsers.add_parser("serve", help="take spans over OTLP and keep them")
    serve.add_argument("--config", metavar="FILE", help="settings as YAML")
    serve.add_argument("--grpc", metavar="HOST:PORT", help="default 127.0.0.1:4317")
    serve.add_argument("--http", metavar="HOST:PORT", help="default 127.0.0.1:4318")
    serve.add_argument("--tls-certificate", metavar="FILE", help="PEM chain; turns on TLS")
    serve.add_argument("--tls-key", metavar="FILE", help="PEM key of the certificate")
    serve.add_argument("--tls-client-ca", metavar="FILE", help="PEM CAs; turns on mutual TLS")
    serve.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="listen beyond loopback without TLS: keys and spans cross the network in clear",
    )
    serve.add_argument(
        "--new-writer",
        action="store_true",
        help="start a new log, after the store was restored from an older copy",
    )
    serve.set_defaults(run=run)


def config_of(args: argparse.Namespace) -> Config:
    """The settings that the command line asks for. Raises ConfigInvalid."""
    given = {"store": args.store_flag, "home": args.home_flag, "hot": args.hot_flag}
    given |= {key: getattr(args, key, None) for key in _FLAGS}
    return load(file=getattr(args, "config", None), flags=given)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; then drain, seal and return 0."""
    config = config_of(args)
    check_exposure(config)
    use_little_memory()
    try:
        with NativeOutput() as native, collecting_often():
            configure(config.log_level)
            asyncio.run(serve(config, native, new_writer=args.new_writer))
    except (LedgerLocked, LedgerBehind, LogNameChanged) as error:
        sys.stderr.write(f"intentproof-otel: {error}\n")
        return BLOCKED
    except HomeInvalid as error:
        sys.stderr.write(f"intentproof-otel: {error}\n")
        return INVALID
    except PermissionError as error:
        sys.stderr.write(
            f"intentproof-otel: {error.filename}: {error.strerror}: what is in --store, --home and "
            f"--hot must belong to the user that serves, who is {os.geteuid()} here\n"
        )
        return INVALID
    return OK


async def serve(config: Config, native: NativeOutput, *, new_writer: bool = False) -> None:
    """Take spans until a signal.

    1. Read certificates and bind both ports: what is missing is found before any acknowledgement.
    2. Open the ledger: replays what a crash left behind. Then answer.
    3. Wait for a signal; another one, a second or more later, ends the process at once.
    4. Drain: not ready, nothing new, finish what is in flight.
    5. Close the ledger: seals and signs everything.
    """
    async with AsyncExitStack() as stack:
        files = tls_files(config)  # (1)
        certificates = None if files is None else Certificates(files)
        stamper = make_stamper(config)
        listener = bind(config.http)
        stack.callback(listener.close)
        grpc, grpc_port = grpc_server.bind(
            config.grpc, message_bytes_max=config.message_bytes_max, certificates=certificates
        )
        stack.push_async_callback(grpc.stop, None)
        tracer = make_tracer({grpc_port, listener.getsockname()[1]})
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        settings = _ledger_settings(config, new_writer=new_writer)
        if not new_writer:
            await asyncio.to_thread(check_witnesses, config)
        ledger = await asyncio.to_thread(Ledger.open, settings)  # (2)
        cosigning = Cosigning(config.witnesses, config.store, ledger.status)
        stack.push_async_callback(asyncio.to_thread, cosigning.close)  # what (5) signs, too
        stack.push_async_callback(asyncio.to_thread, ledger.close)  # (5)
        usage = Usage(config.quotas, home=config.home)
        stack.callback(usage.save)
        pool = FairPool(config.export_threads)
        stack.callback(pool.shutdown)
        metrics = Metrics()
        metrics.registry.register(WitnessCollector(cosigning.status))
        cosigning.start()
        native.listen(partial(tell_of_encodings, metrics))
        _start(stamper, metrics, ledger, stack)
        intake, http = _assemble(config, ledger, pool, usage, certificates, metrics, tracer)
        grpc_server.add_export(grpc, intake)
        health = GrpcHealth(grpc, grpc_server.SERVICE)
        stop = _signals()
        await grpc.start()
        answering = asyncio.create_task(http.serve(sockets=[listener]))
        await http.listening.wait()
        background = [
            asyncio.create_task(health.follow(lambda: ledger.status().healthy)),
            asyncio.create_task(measure_loop(metrics.loop_lagged)),
        ]
        _log_ready(config, ledger, grpc_port=grpc_port, http_port=listener.getsockname()[1])
        await stop.wait()  # (3)
        log(_log, logging.INFO, "draining")
        intake.draining = True  # (4)
        for task in background:
            task.cancel()
        await health.drain()
        http.should_exit = True
        await asyncio.gather(grpc.stop(config.drain_seconds), answering)
    log(_log, logging.INFO, "closed")
    if pool.is_busy:  # with crafted bytes, whose sender was not answered; a thread cannot be ended
        os._exit(OK)


def _start(
    stamper: Stamper | None, metrics: Metrics, ledger: Ledger, stack: AsyncExitStack
) -> None:
    if stamper is not None:
        metrics.registry.register(stamper)
        stack.push_async_callback(asyncio.to_thread, stamper.close)
        stamper.start(Sizes(ledger.status))


def _ledger_settings(config: Config, *, new_writer: bool) -> LedgerSettings:
    return LedgerSettings(
        store=config.store,
        home=config.home,
        hot=config.hot_folder,
        log_name=config.log_name,
        seal_rows=config.seal_rows,
        seal_bytes=config.seal_bytes,
        seal_seconds=config.seal_seconds,
        checkpoint_seconds=config.checkpoint_seconds,
        heartbeat_seconds=config.heartbeat_seconds,
        new_writer=new_writer,
    )


def _assemble(
    config: Config,
    ledger: Ledger,
    pool: FairPool,
    usage: Usage,
    certificates: Certificates | None,
    metrics: Metrics,
    tracer: RequestTracer | None,
) -> "tuple[Intake, HttpServer]":
    keys = KeyStore(config.home)
    if certificates is not None:
        metrics.registry.register(certificates)
    budget = Budget(
        bytes_max=config.bytes_in_flight_max,
        requests_max=config.requests_in_flight_max,
        tenant_bytes_max=config.tenant_bytes_max,
        tenant_requests_max=config.tenant_requests_max,
    )
    watched = Watched(ledger=ledger.status, keys=keys.status, budget=budget)
    status_metrics.register(metrics, config, watched)
    mappings = MappingStore(config.home)
    exporter = Exporter(
        keys=keys,
        mappings=mappings,
        ledger=ledger,
        event_bytes_max=config.event_bytes_max,
    )
    show_pressure(metrics, budget, pool, exporter)
    intake = WatchedIntake(
        exporter=exporter, budget=budget, metrics=metrics, pool=pool, usage=usage, tracer=tracer
    )
    app = make_app(
        intake=intake,
        metrics=metrics,
        status=ledger.status,
        message_bytes_max=config.message_bytes_max,
        receipts=Receipts(
            Places(store=config.store, hot=config.hot_folder, home=config.home),
            partial(authenticate, keys=keys, mappings=mappings),
            checkpoint_seconds=config.checkpoint_seconds,
        ),
    )
    http = HttpServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            http=CertificateProtocol,
            ws="none",
            timeout_graceful_shutdown=max(1, round(config.drain_seconds)),
        ),
        certificates,
    )
    return intake, http


def _log_ready(config: Config, ledger: Ledger, *, grpc_port: int, http_port: int) -> None:
    log(
        _log,
        logging.INFO,
        "ready",
        grpc=f"{config.grpc.rpartition(':')[0]}:{grpc_port}",
        http=f"{config.http.rpartition(':')[0]}:{http_port}",
        tls=_tls_word(config),
        writer=ledger.status().writer,
        store=str(config.store),
        pid=os.getpid(),
    )


def _tls_word(config: Config) -> str:
    if config.tls_certificate is None:
        return "off"
    return "server" if config.tls_client_ca is None else "mutual"


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first = float("inf")

    def asked() -> None:
        nonlocal first
        if loop.time() - first >= _IMPATIENT_SECONDS:
            os._exit(1)  # asked twice: what is acknowledged is durable, and replayed next time
        first = min(first, loop.time())
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    return stop
