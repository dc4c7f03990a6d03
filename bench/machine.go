package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

// machine describes what was measured on and how: the head of the report.
func machine(b *bench) string {
	var s strings.Builder
	s.WriteString(`# Benchmarks

Written by ` + "`make bench`" + `; do not edit. Every question has all its contestants in one run on one machine, taking turns,
beginning with another one in each round. A figure is the median of its rounds, ± half the distance between the smallest and
the largest. Ratios come first, because they carry over to other machines and the figures do not. No test asserts a time.

`)
	row := func(what, is string) { fmt.Fprintf(&s, "| %s | %s |\n", what, is) }
	s.WriteString("| | |\n|---|---|\n")
	row("machine", fmt.Sprintf("%s, %d cores, %s", field("/proc/cpuinfo", "model name"), runtime.NumCPU(), memory()))
	row("system", fmt.Sprintf("%s, Linux %s, files on %s", release(), firstLine("uname", "-r"), filesystem(b.dir)))
	row("built with", runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	row("peers", peers())
	row("command", "`make bench`")
	s.WriteString("\n")
	return s.String()
}

func peers() string {
	var ps []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/bytedance/sonic", "github.com/valyala/fastjson", "github.com/go-json-experiment/json", "github.com/tink-crypto/tink-go/v2", "github.com/elazarl/goproxy":
				ps = append(ps, d.Path[strings.Index(d.Path, "/")+1:]+" "+d.Version)
			}
		}
	}
	if v := firstLine("nginx", "-v"); v != "" {
		ps = append(ps, strings.TrimPrefix(v, "nginx version: "))
	}
	if v := strings.Fields(firstLine("haproxy", "-v")); len(v) > 2 {
		ps = append(ps, "haproxy/"+v[2])
	}
	if v := strings.Fields(firstLine("squid", "-v")); len(v) > 3 {
		ps = append(ps, "squid/"+v[3])
	}
	if v := strings.Fields(firstLine("mitmdump", "--version")); len(v) > 1 {
		ps = append(ps, "mitmproxy/"+v[1])
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(found) > 0 {
		if v := strings.Fields(firstLine(found[len(found)-1], "--version")); len(v) > 2 {
			ps = append(ps, "PostgreSQL/"+v[2])
		}
	}
	return strings.Join(ps, ", ")
}

// busy is what else the machine does: how many processes wanted its cores lately.
func busy() string {
	src, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "an unknown load"
	}
	one, _, _ := strings.Cut(string(src), " ")
	return "a load average of " + one
}

// sbin is where Debian puts servers, which is not on every PATH.
func program(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	return "/usr/sbin/" + name
}

func firstLine(name string, args ...string) string {
	out, err := exec.Command(program(name), args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func field(file, name string) string {
	src, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.SplitSeq(string(src), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func memory() string {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return "unknown memory"
	}
	return fmt.Sprintf("%d GiB", (uint64(info.Totalram)*uint64(info.Unit)+1<<29)>>30)
}

func release() string {
	src, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.SplitSeq(string(src), "\n") {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return runtime.GOOS
}

func filesystem(dir string) string {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return "an unknown file system"
	}
	known := map[int64]string{0xef53: "ext4", 0x01021994: "tmpfs", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x794c7630: "overlayfs"}
	if name, ok := known[st.Type]; ok {
		return name
	}
	return fmt.Sprintf("a file system of type %#x", st.Type)
}
