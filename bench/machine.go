package main

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// machine returns what the figures depend on.
func machine() map[string]string {
	m := map[string]string{
		"go":     runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"cpu":    cpu(),
		"cores":  strconv.Itoa(runtime.NumCPU()),
		"kernel": output("uname", "-r"),
	}
	for name, command := range map[string][]string{
		"redis":    {"redis-server", "--version"},
		"mariadb":  {"mariadbd", "--version"},
		"postgres": {"postgres", "--version"},
	} {
		m[name] = output(command[0], command[1:]...)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Replace == nil {
				m[d.Path] = d.Version
			}
		}
	}
	return m
}

func cpu() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func output(command string, args ...string) string {
	out, err := exec.Command(command, args...).Output()
	if err != nil {
		return "not here"
	}
	return strings.TrimSpace(string(out))
}
