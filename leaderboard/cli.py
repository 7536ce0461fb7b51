"""The `leaderboard` command."""

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="medground", prog_name="leaderboard")
def main() -> None:
    """The static leaderboard: published cells, reproduced runs and submissions side by side."""


if __name__ == "__main__":
    main()
