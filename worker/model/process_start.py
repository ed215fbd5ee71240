"""The entry of the model process: dies with its worker even while it only imports what it is made of."""

from shared.parent_death import die_with_parent, is_left_alone


def main() -> None:
    """Run the model process."""
    die_with_parent()
    if is_left_alone(0):
        return
    from worker.model.process import main as run_model_process  # noqa: PLC0415 - takes a second

    run_model_process()


if __name__ == "__main__":
    main()
