"""`python -m livekit_exporter` is `livekit-exporter`."""

from livekit_exporter.cli.app import main

if __name__ == "__main__":
    main()
