"""The commands that may show a page: the dashboard, and one source watched there or in a terminal.

In: arguments. Out: a server, or text. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from models.commands import Force, Profile, Stt
from models.errors import UsageError
from models.libraries import opencv
from realtime.commands import (
    AudioTrack,
    Baseline,
    Events,
    Lsl,
    Osc,
    People,
    Where,
    watch_in_terminal,
)
from realtime.outputs import EventsFile
from web.settings import DEFAULT_STORE, IceServer, Limits, ServerSettings

if TYPE_CHECKING:
    from realtime.sources import Source
    from web.sessions.hub import Hub

app = typer.Typer()


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` an option for each of `Limits`, in place of its parameter ``limits``."""
    types = get_type_hints(Limits)
    options = [
        inspect.Parameter(
            limit.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=limit.default,
            annotation=Annotated[
                types[limit.name],
                typer.Option(help=limit.metadata["about"], rich_help_panel="Limits"),
            ],
        )
        for limit in fields(Limits)
    ]

    @functools.wraps(command)
    def limited(**given: Any) -> None:
        limits = Limits(**{option.name: given.pop(option.name) for option in options})
        command(limits=limits, **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.name != "limits"] + options
    limited.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    limited.__annotations__ = {p.name: p.annotation for p in parameters}
    return limited


Port = Annotated[int, typer.Option(help="Where the dashboard listens; 0 takes any free port.")]
Store = Annotated[
    Path,
    typer.Option(
        envvar="LIVE_EMOTION_STORE",
        show_envvar=True,
        metavar="FILE",
        help="Where sessions are kept.",
        show_default="sessions.sqlite in ~/.local/share/live-emotion",
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Open no browser.")]


@_with_limits
def dashboard(
    *,
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen at. At one that others can reach, everything takes a token."
        ),
    ] = "127.0.0.1",
    port: Port = 8000,
    no_browser: NoBrowser = False,
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LIVE_EMOTION_TOKEN",
            show_envvar=True,
            help="What the host shows to be let in; left out, one is made where one is needed.",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Where browsers find this server through a proxy or tunnel, as "
            "https://emotions.example.org; may be given more than once.",
        ),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Believe X-Forwarded-For and -Proto of this address or network, such as "
            "10.0.0.0/8; several by commas, or given more than once.",
        ),
    ] = None,
    tls: Annotated[
        str | None,
        typer.Option(
            metavar="self-signed|CERTIFICATE,KEY",
            help="Encrypt: with a certificate made at start, or with these two PEM files.",
        ),
    ] = None,
    guest_hours: Annotated[
        float, typer.Option(min=0.01, help="How long the link to a call lets guests in.")
    ] = 24.0,
    allow_paths: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Let the dashboard open files of this folder; may be given more than once.",
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
    keep: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="DAYS", help="Delete sessions after so many days."),
    ] = None,
    speakers: People = "auto",
    baseline: Baseline = "off",
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Keep the film, the sound and the faces of each session, too."
        ),
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write a line of JSON for each event, without words and scores; - for stderr.",
        ),
    ] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVER",
            help="For calls across networks: stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT; "
            "may be given more than once.",
        ),
    ] = None,
    limits: Limits,
) -> None:
    """Live multimodal emotion analysis: what was said and felt, utterance by utterance.

    Without a command: the dashboard in a browser, for cameras, recordings and calls.
    """
    if context.invoked_subcommand is None:
        certificate, _, key = (tls or "").partition(",")
        given = tls is not None and tls != "self-signed"
        if given and not (certificate and key):
            raise UsageError(f"{tls} is no --tls: give self-signed, or CERTIFICATE,KEY")
        settings = ServerSettings(
            host=host,
            port=port,
            token=token,
            origins=tuple(origin or ()),
            trusted_proxies=tuple(
                address.strip() for given in trusted_proxy or () for address in given.split(",")
            ),
            guest_hours=guest_hours,
            certificate=Path(certificate) if given else None,
            key=Path(key) if given else None,
            self_signed=tls == "self-signed",
            allow_paths=tuple(allow_paths or ()),
            store=store,
            keep_days=keep,
            alone=speakers == "1",
            baseline=baseline == "auto",
            record=record,
            limits=limits,
            ice_servers=tuple(IceServer.parse(text) for text in ice_server or ()),
        )
        _serve(settings, browser=not no_browser, models=(analyzer, profile, stt), log=log)
    elif any(
        (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
        for name in context.params
    ):
        raise UsageError(f"give the options of {context.invoked_subcommand} after it")


def _serve(
    settings: ServerSettings,
    *,
    browser: bool,
    models: tuple[str, str, str],
    log: str | None = None,
    first: Callable[[Hub], Awaitable[Source]] | None = None,
) -> None:
    from realtime.analyzers import load_analyzer
    from web.observability.logs import configure
    from web.server import serve

    opencv()  # what cannot be loaded is told at once: the models load while the page is shown
    if log is not None:
        configure(Path(log))
    serve(
        settings,
        lambda: load_analyzer(*models, settings.limits.stuck_s),
        told=lambda address: print(f"The dashboard is at {address} (Ctrl-C ends it)", flush=True),
        browser=browser,
        first=first,
    )


@app.command(rich_help_panel="Analyse")
def watch(
    source: Annotated[
        str, typer.Argument(help="webcam, webcam:1, a sound or video file, an rtsp or http URL.")
    ],
    microphone: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With webcam: its number or name, or off.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With webcam: its number or name, or off.")
    ] = None,
    audio_track: AudioTrack = None,
    events: Events = None,
    force: Force = False,
    osc: Osc = None,
    lsl: Lsl = False,
    speakers: People = "auto",
    baseline: Baseline = "off",
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
    web: Annotated[bool, typer.Option("--web", help="Show it in a browser.")] = False,
    port: Port = 8000,
    no_browser: NoBrowser = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Analyse one live source, showing what is said and felt as it happens.

    A file is played as if it were live. Ctrl-C ends the session with its average.
    """
    learns, alone = baseline == "auto", speakers == "1"
    if web:
        if events is not None:
            raise UsageError("--events is not for --web: the page gives the results away")
        if osc is not None or lsl:
            raise UsageError("--osc and --lsl are not for --web: leave out --web")

        async def first(hub: Hub) -> Source:
            from realtime.media import thinner_for
            from realtime.sources import open_source

            if source.split(":")[0] == "webcam":
                await hub.ready()  # it delivers at once, and nobody would take it
            return await open_source(
                source,
                "live",
                thinner=thinner_for(alone),
                audio_track=audio_track,
                microphone=microphone,
                camera=camera,
            )

        _serve(
            ServerSettings(port=port, store=store, alone=alone, baseline=learns),
            browser=not no_browser,
            models=(analyzer, profile, stt),
            first=first,
        )
        return
    models = analyzer, profile, stt
    file = EventsFile(events, [source], force=force)
    watching = watch_in_terminal(
        source,
        audio_track,
        microphone,
        camera,
        file,
        models,
        baseline=learns,
        alone=alone,
        osc=osc,
        lsl=lsl,
    )
    raise typer.Exit(asyncio.run(watching))
