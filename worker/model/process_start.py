"""The entry of the model process. It dies with its worker even during its imports, which take a second."""

from shared.parent_death import die_with_parent, is_left_alone


def main() -> None:
    """Run the model process."""
    die_with_parent()
    if is_left_alone(0):
        return
    from worker.model.process import main as run_model_process  # noqa: PLC0415 - see above

    run_model_process()


if __name__ == "__main__":
    main()
