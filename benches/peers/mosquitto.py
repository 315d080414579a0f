"""A mosquitto with a folder of its own: a broker, or a bridge to another one."""

import os
import subprocess

from rig import Process, free_port

CHANGE, SECOND = "saved at every change", "saved every second"


class Mosquitto:
    def __init__(self, folder, name, queue, saved, bridge_to=None, topic=None, log="all"):
        self.port, self.folder = free_port(), os.path.join(folder, name)
        os.makedirs(self.folder)
        # Debian's build gives up root for a user of its own, which must be able to write there.
        user = "root" if os.getuid() == 0 else ""
        self.config = os.path.join(self.folder, "conf")
        lines = [
            f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence true",
            f"persistence_location {self.folder}/", "autosave_interval 1",
            f"autosave_on_changes {str(saved == CHANGE).lower()}",
            f"max_queued_messages {queue}", "max_inflight_messages 100", "set_tcp_nodelay true",
            "log_dest stderr", f"log_type {log}",
        ] + ([f"user {user}"] if user else [])
        if bridge_to:
            lines += [
                "connection city", f"address 127.0.0.1:{bridge_to}", f"topic {topic} out 1", "cleansession false",
                "local_cleansession false", "restart_timeout 1 2", "try_private true", "notifications false",
                "bridge_protocol_version mqttv311", "keepalive_interval 5", "remote_clientid edge",
            ]
        with open(self.config, "w") as out:
            out.write("\n".join(lines) + "\n")
        self.process = None

    def start(self):
        self.process = Process(["mosquitto", "-c", self.config], os.path.join(self.folder, "log"))

    def says(self):
        """Its own words on losses, with how often it said them."""
        words = self.process.words().splitlines()
        return sum("dropped" in line.lower() for line in words)


def version():
    out = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True).stdout
    return out.split()[2] if out.startswith("mosquitto version") else "?"
