"""An IOC for the tests: `python -m tests.sources.ioc`, with its address in EPICS_CA_* variables."""

import asyncio

from caproto import AlarmSeverity, AlarmStatus, ChannelType
from caproto.server import PVGroup, pvproperty, run

BEGAN = 1_700_000_000.0


class Tank(PVGroup):
    """A tank; what is put to the last of its variables has it do something."""

    level = pvproperty(
        value=1.5,
        name="LEVEL",
        precision=2,
        units="m",
        lower_warning_limit=0.5,
        upper_warning_limit=3.0,
        lower_alarm_limit=0.25,
        upper_alarm_limit=4.0,
    )
    count = pvproperty(value=7, name="COUNT")
    valve = pvproperty(
        value="closed", name="VALVE", dtype=ChannelType.ENUM, enum_strings=["closed", "open"]
    )
    # An alarm of its own: what is written to another one of its group ends it.
    text = pvproperty(value="ready", name="TEXT", dtype=ChannelType.STRING, alarm_group="text")
    wave = pvproperty(value=[1.0, 2.0, 3.0], name="WAVE", max_length=1000)
    fill = pvproperty(value=0, name="FILL")
    spoil = pvproperty(value=0, name="SPOIL")
    rename = pvproperty(value="m", name="RENAME", dtype=ChannelType.STRING)

    @level.startup
    async def level(self, instance, async_lib):
        for variable in (self.level, self.count, self.valve, self.text):
            await variable.write(variable.value, timestamp=BEGAN - 1)

    @fill.putter
    async def fill(self, instance, value):
        for i in range(value):
            t = BEGAN + i * 0.7
            await self.level.write((i * 37) % 101 / 4, timestamp=t)
            await self.count.write(i // 7, timestamp=t)
            await self.text.write(f"part {i // 50}", timestamp=t)
            await self.valve.write(i % 2, timestamp=t)
            await asyncio.sleep(0.002)

    @rename.putter
    async def rename(self, instance, value):
        await self.level.write_metadata(units=value)

    @spoil.putter
    async def spoil(self, instance, value):
        status = AlarmStatus(value)
        severity = AlarmSeverity.INVALID_ALARM if value else AlarmSeverity.NO_ALARM
        await self.text.write(self.text.value, status=status, severity=severity)


if __name__ == "__main__":
    run(Tank(prefix="TANK:").pvdb, interfaces=["127.0.0.1"])
