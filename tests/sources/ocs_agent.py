"""An agent of OCS that publishes values of all types, free text, and what is no feed's."""

import time

from ocs import ocs_agent, site_config


def acquire(agent):
    """Make the process that publishes, four times a second."""

    def run(session, params):
        session.set_status("running")
        count = 0
        while session.status == "running":
            values = {
                "count": count,
                "door": count % 3 == 0,
                "mode": "odd" if count % 2 else "even",
            }
            message = {"block_name": "states", "timestamp": time.time(), "data": values}
            session.app.publish_to_feed("mixed", message)
            session.app.publish_to_feed("chat", {"said": f"{count} and more"})
            topic = f"{agent.agent_address}.feeds.junk"
            # What looks more like a feed's ends OCS's own aggregator.
            for junk in ("no feed", [[], {}]):
                ocs_agent.reactor.callFromThread(agent.publish, topic, junk)
            count += 1
            time.sleep(0.25)
        return True, "stopped"

    return run


def stop(session, params):
    """End the process."""
    session.set_status("stopping")
    return True, "stopping"


def main():
    """Run the agent until it is killed."""
    args = site_config.parse_args(agent_class="MixedAgent")
    agent, runner = ocs_agent.init_site_agent(args)
    agent.register_feed("mixed", record=True, agg_params={"frame_length": 1})
    agent.register_feed("chat", record=False)
    agent.register_process("acq", acquire(agent), stop, startup=True)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
