"""Every command there is, in the order that `catena --help` lists them."""

from ray_apps import (
    bench,
    discover,
    embed,
    evaluate,
    index,
    ingest,
    late,
    reduce,
    run,
    search,
    serve,
    show_config,
    stats,
    train,
)
from ray_apps.command import Command
from ray_apps.encoder import check, export, fuse, idf, matryoshka

COMMANDS: dict[str, Command] = {
    module.COMMAND.name: module.COMMAND
    for module in (
        run,
        ingest,
        stats,
        embed,
        reduce,
        late,
        index,
        search,
        train,
        evaluate,
        discover,
        serve,
        check,
        export,
        idf,
        fuse,
        matryoshka,
        bench,
        show_config,
    )
}
