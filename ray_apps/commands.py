"""Every command there is, in the order that `catena --help` lists them."""

from ray_apps import (
    bench,
    deploy,
    discover,
    documents,
    embed,
    evaluate,
    feedback,
    index,
    ingest,
    keys,
    late,
    link,
    ranker,
    reduce,
    registry,
    remote,
    run,
    search,
    serve,
    show_config,
    stats,
    train,
    tune,
)
from ray_apps.command import Command
from ray_apps.encoder import check, export, finetune, fuse, idf, matryoshka

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        run.COMMAND,
        ingest.COMMAND,
        stats.COMMAND,
        embed.COMMAND,
        reduce.COMMAND,
        late.COMMAND,
        index.COMMAND,
        search.COMMAND,
        train.COMMAND,
        tune.COMMAND,
        evaluate.COMMAND,
        discover.COMMAND,
        link.COMMAND,
        serve.COMMAND,
        remote.COMMAND,
        *documents.COMMANDS,
        feedback.COMMAND,
        check.COMMAND,
        export.COMMAND,
        idf.COMMAND,
        fuse.COMMAND,
        matryoshka.COMMAND,
        finetune.COMMAND,
        ranker.COMMAND,
        *registry.COMMANDS,
        *keys.COMMANDS,
        *deploy.COMMANDS,
        bench.COMMAND,
        show_config.COMMAND,
    )
}
