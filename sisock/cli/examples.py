"""Hold the examples with which the help of each command ends."""

EXAMPLES = {
    "nodes": ["sisock nodes", "sisock nodes --router router.example.org"],
    "fields": ["sisock fields sensors"],
    "get": [
        "sisock get sensors cpu_percent load_1min --from -10min",
        "sisock get apex_archive apex_pressure --from 2017-07-14 --to 2017-07-15 --csv",
    ],
    "latest": ["sisock latest sensors", "sisock latest sensors cpu_percent"],
    "watch": ["sisock watch sensors cpu_percent"],
    "config": ["sisock config"],
    "certs": [
        "sisock certs --name router.example.org",
        "sisock certs --export server=sisock-home",
    ],
    "record": [
        "sisock record sensors 'apex_archive::apex_*'",
        "sisock record '*' --keep 30d",
    ],
    "serve": ["sisock serve --check nodes.toml", "sisock serve nodes.toml"],
    "status": ["sisock status", "sisock status nodes.toml"],
    "new": ["sisock new thermometer", "sisock new weather --kind files"],
    "completion": [
        'eval "$(sisock completion bash)"    # in ~/.bashrc',
        'eval "$(sisock completion zsh)"     # in ~/.zshrc, after compinit',
        "sisock completion fish | source     # in ~/.config/fish/config.fish",
    ],
    "doctor": ["sisock doctor", "sisock doctor --router router.example.org"],
}
