"""Writes a run's report.html, at any time during the run or after it.

python -m launch.report --run=runs/quickstart
python -m launch.report --run=runs/quickstart --curve=curve.png
"""

from absl import app, flags

from jaxrl.report import page, plots

RUN = flags.DEFINE_string("run", None, "Run directory, as training wrote it.", required=True)
CURVE = flags.DEFINE_string("curve", None, "Also write the reward and accuracy curves as this PNG.")


def main(argv):
    """Renders, and says where."""
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: name the run with --run=DIR")
    try:
        print(page.write(RUN.value))
        if CURVE.value:
            print(plots.curve_png(RUN.value, CURVE.value))
    except (FileNotFoundError, ValueError) as error:
        raise app.UsageError(str(error)) from None


if __name__ == "__main__":
    app.run(main)
