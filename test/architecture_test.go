// Package test holds what no single package can test.
package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

const module = "github.com/minictr/minictr/"

// mayImport says which packages of the module a package may import: only such
// that stand below it in the picture of docs/architecture.md. Every package has
// a row. Tests may import what their package may, and test/kernel.
var mayImport = map[string][]string{
	"runtime/step":       {},
	"runtime/logfile":    {},
	"runtime/capability": {"runtime/step"},
	"runtime/program":    {"runtime/step"},
	"runtime/seccomp":    {"runtime/step", "runtime/capability"},

	// They generate what runtime/seccomp is compiled from.
	"runtime/seccomp/gen/profile":  {"runtime/seccomp", "runtime/capability"},
	"runtime/seccomp/gen/syscalls": {},

	// It packs the image that cmd/minictr-image carries.
	"rootfs/gen/base": {},

	// It reads what others have in nf_tables.
	"network/firewall": {},

	// It waits for what the kernel says of changes.
	"network/watch": {},

	// They read what is there, for the commands that show it.
	"network/survey": {"network"},
	// It finds the cause why a container's network does not work.
	"network/doctor": {"network", "network/firewall", "network/names", "network/namespaces", "network/survey", "runtime/step"},

	// It reads which namespaces there are, and who is in them.
	"network/namespaces": {},
	// It reads frames; the sniffers of the host and of minictr/base print by it.
	"network/packet":        {"network/packet/frames"},
	"network/packet/frames": {},

	"network/trace":              {"network", "network/firewall"},
	"network/capture":            {"network", "network/packet", "network/packet/frames", "network/capture/pcapfilter", "network/survey"},
	"network/capture/pcapfilter": {"network/packet/frames"},

	// It keeps /run/netns as ip-netns(8) does.
	"network/netnsdir": {"network", "runtime/step"},

	"network":       {"network/names", "network/firewall", "runtime/step"},
	"network/fault": {"network", "network/names", "runtime/step"},
	"network/names": {"runtime/step"},
	"rootfs":        {"runtime/step"},
	"rootfs/volume": {"rootfs", "runtime/step"},
	"cgroups":       {"runtime/step"},

	"runtime": {"network", "network/names", "network/firewall", "rootfs", "rootfs/volume", "cgroups", "runtime/program", "runtime/seccomp", "runtime/capability", "runtime/logfile", "runtime/step"},

	"cmd/minictr": {"cmd/terminal", "runtime", "network", "rootfs", "rootfs/volume", "cgroups", "runtime/program", "runtime/capability", "runtime/logfile", "runtime/step"},
	"cmd/minictr-see": {
		"cmd/terminal", "runtime", "runtime/program", "runtime/step", "cgroups", "network", "network/firewall", "network/survey", "network/namespaces",
		"network/netnsdir",
		"cmd/minictr-see/lab",
		"cmd/minictr-see/diagram", "network/watch",
		"network/fault",
		"network/packet", "network/capture", "network/capture/pcapfilter",
		"network/trace",
		"network/doctor",
	},
	"cmd/minictr-see/lab": {"cgroups", "runtime/step"},
	"cmd/terminal":        {},
	"cmd/minictr-image":   {"cmd/minictr-image/registry", "rootfs", "runtime/step"},
	"cmd/minictr-monitor": {"runtime/logfile"},
	"cmd/minictr-format":  {},
	"cmd/minictr-dns":     {"network/names", "network/names/server"},

	// It draws what minictr map shows.
	"cmd/minictr-see/diagram": {"cmd/terminal", "network/firewall", "network/survey"},

	// minictr starts the server and does not link it.
	"network/names/server": {"network/names"},

	"cmd/minictr-image/registry": {"rootfs"},

	// The userland of minictr/base runs in containers; it shares nothing with the rest
	// but what reads a frame.
	"cmd/minictr-base":         {"cmd/minictr-base/applet", "cmd/minictr-base/shell", "cmd/minictr-base/files", "cmd/minictr-base/text", "cmd/minictr-base/system", "cmd/minictr-base/netapplet"},
	"cmd/minictr-base/applet":  {},
	"cmd/minictr-base/pattern": {},
	"cmd/minictr-base/shell":   {"cmd/minictr-base/applet"},
	"cmd/minictr-base/files":   {"cmd/minictr-base/applet", "cmd/minictr-base/pattern"},
	"cmd/minictr-base/text":    {"cmd/minictr-base/applet", "cmd/minictr-base/pattern"},
	"cmd/minictr-base/system":  {"cmd/minictr-base/applet"},

	"cmd/minictr-base/netapplet":         {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/classic", "cmd/minictr-base/netapplet/dns", "cmd/minictr-base/netapplet/icmp", "cmd/minictr-base/netapplet/ip", "cmd/minictr-base/netapplet/nc", "cmd/minictr-base/netapplet/sniff", "cmd/minictr-base/netapplet/speed", "cmd/minictr-base/netapplet/ss", "cmd/minictr-base/netapplet/web"},
	"cmd/minictr-base/netapplet/classic": {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "cmd/minictr-base/netapplet/ip", "cmd/minictr-base/netapplet/rtnl"},
	"cmd/minictr-base/netapplet/dns":     {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "network/packet", "cmd/minictr-base/netapplet/neterr"},
	"cmd/minictr-base/netapplet/icmp":    {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "cmd/minictr-base/netapplet/neterr"},
	"cmd/minictr-base/netapplet/ip":      {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/rtnl"},
	"cmd/minictr-base/netapplet/nc":      {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "cmd/minictr-base/netapplet/neterr"},
	"cmd/minictr-base/netapplet/sniff":   {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "network/packet", "network/packet/frames"},
	"cmd/minictr-base/netapplet/speed":   {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "cmd/minictr-base/netapplet/neterr"},
	"cmd/minictr-base/netapplet/ss":      {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags"},
	"cmd/minictr-base/netapplet/web":     {"cmd/minictr-base/applet", "cmd/minictr-base/netapplet/flags", "network/packet", "cmd/minictr-base/netapplet/neterr"},
	"cmd/minictr-base/netapplet/flags":   {"cmd/minictr-base/applet"},
	"cmd/minictr-base/netapplet/neterr":  {},
	"cmd/minictr-base/netapplet/rtnl":    {},

	"test/kernel": {},
	"test/lab":    {},
	"test/faults": {"network/fault"},
	"test/report": {},
	"test/bench":  {},
	"test":        {},
}

// doors names, for each module of others, the packages that may import it.
var doors = map[string][]string{
	"github.com/vishvananda/netlink":         {"network", "network/survey", "network/netnsdir", "network/fault", "network/doctor"},
	"github.com/vishvananda/netns":           {"network", "network/survey"},
	"github.com/google/nftables":             {"network", "network/fault"},
	"github.com/mdlayher/netlink":            {"network", "cmd/minictr-base/netapplet/rtnl", "cmd/minictr-base/netapplet/ip", "cmd/minictr-base/netapplet/ss"},
	"github.com/opencontainers/runtime-spec": {"runtime", "runtime/seccomp", "runtime/seccomp/gen/profile", "rootfs", "cgroups"},
	"github.com/google/go-containerregistry": {"cmd/minictr-image"},
	"github.com/BurntSushi/toml":             {"cmd/minictr-image/registry"},
	"github.com/klauspost/compress":          {"cmd/minictr-image", "rootfs/gen/base"},
	"github.com/spf13/cobra":                 {"cmd/minictr", "cmd/minictr-see"},
	"github.com/spf13/pflag":                 {"cmd/minictr", "cmd/minictr-see", "cmd/minictr-base/netapplet/flags"},
	"github.com/moby/profiles/seccomp":       {"runtime/seccomp/gen/profile"},
	"golang.org/x/net/dns/dnsmessage":        {"network/names/server", "network/doctor", "cmd/minictr-base/netapplet/dns", "network/packet", "network/packet/frames"},
	"golang.org/x/net/bpf":                   {"network/capture", "network/capture/pcapfilter", "network/trace", "cmd/minictr-see"},
	"github.com/cilium/ebpf":                 {"network/trace"},
	"golang.org/x/sys":                       anyone,
	"golang.org/x/term":                      {"runtime", "cmd/minictr", "cmd/minictr-see", "cmd/minictr-image", "cmd/minictr-base/shell", "cmd/minictr-base/files", "cmd/minictr-base/text", "cmd/minictr-base/system", "cmd/minictr-base/netapplet"},
	"mvdan.cc/sh/v3":                         {"cmd/minictr-base/shell"},
	"github.com/benhoyt/goawk":               {"cmd/minictr-base/text"},
	"github.com/google/go-cmp":               onlyTests,
	"github.com/rogpeppe/go-internal":        onlyTests,
	"github.com/opencontainers/go-digest":    {"cmd/minictr-image"},
	"github.com/opencontainers/image-spec":   {"cmd/minictr-image"},
}

var (
	anyone    = []string{"*"}
	onlyTests = []string{}
)

// mayNotLink names what must not be in a program, by way of whatever import:
// its package initialisation would be paid at each start.
var mayNotLink = map[string][]string{
	"cmd/minictr":         {"net/http", "crypto/tls", "golang.org/x/net/dns/dnsmessage", "github.com/google/go-containerregistry", "github.com/klauspost", "github.com/opencontainers/image-spec", "github.com/moby"},
	"cmd/minictr-dns":     {"encoding/json", "net/http", "crypto/tls", "crypto/rand", "github.com/spf13", "github.com/vishvananda", "github.com/google"},
	"cmd/minictr-monitor": {"net", "encoding/json", "github.com/spf13", "github.com/vishvananda", "github.com/google"},
}

// unsafeFiles are the files that import unsafe: the interpreter, and the raw
// system calls for which x/sys has no wrapper. Only the first has nosplit and
// linkname directives.
var unsafeFiles = []string{
	"runtime/program/start.go",
	"runtime/seccomp/load.go",
	"cgroups/bpf.go",
	"network/fault/bpf.go",
}

const (
	maxFileLines     = 400
	maxFunctionLines = 80 // without comments
)

// A listed is a package as "go list -json" describes it.
type listed struct {
	ImportPath, Dir, Name, Doc         string
	GoFiles, TestGoFiles, XTestGoFiles []string
	IgnoredGoFiles                     []string
	Imports, TestImports, XTestImports []string
	Deps                               []string
	Standard                           bool
	Module                             *struct{ Path string }
}

// folder is the package's name in the tables above.
func (p listed) folder() string { return strings.TrimPrefix(p.ImportPath, module) }

func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	kernel.RequireCommand(t, "go")
	c := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Name,Doc,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports,Deps,Standard,Module"}, args...)...)
	c.Dir = ".."
	out, err := c.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var list []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range goList(t, "./...") {
		allowed, ok := mayImport[p.folder()]
		if !ok {
			t.Errorf("%s has no row in mayImport", p.folder())
			continue
		}
		for _, imported := range p.Imports {
			if below, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(allowed, below) {
				t.Errorf("%s imports %s", p.folder(), below)
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			below, ours := strings.CutPrefix(imported, module)
			if ours && below != "test/kernel" && below != p.folder() && !slices.Contains(allowed, below) {
				t.Errorf("a test of %s imports %s", p.folder(), below)
			}
		}
	}
}

// A cycle in the table, or a row for what is gone, would make it say nothing.
func TestImportTable(t *testing.T) {
	existing := map[string]bool{}
	for _, p := range goList(t, "./...") {
		existing[p.folder()] = true
	}
	for from, allowed := range mayImport {
		if !existing[from] {
			t.Errorf("mayImport has a row for %s, which is not there", from)
		}
		for _, to := range allowed {
			if slices.Contains(mayImport[to], from) {
				t.Errorf("%s and %s may import each other", from, to)
			}
		}
	}
}

func TestEachModuleHasItsDoor(t *testing.T) {
	homes := map[string]string{} // of each package of others: its module
	packages := goList(t, "-deps", "-test", "./...")
	for _, p := range packages {
		if p.Module != nil {
			homes[p.ImportPath] = p.Module.Path
		}
	}
	for _, p := range goList(t, "./...") {
		for _, imported := range p.Imports {
			home := homes[imported]
			if home == "" || strings.HasPrefix(imported, module) {
				continue
			}
			if door, ok := doorOf(imported); !ok {
				t.Errorf("%s imports %s, which has no row in doors", p.folder(), imported)
			} else if !slices.Contains(door, p.folder()) && !slices.Contains(door, "*") {
				t.Errorf("%s imports %s, whose door is %q", p.folder(), imported, door)
			}
		}
	}
}

func doorOf(imported string) ([]string, bool) {
	for prefix, door := range doors {
		if imported == prefix || strings.HasPrefix(imported, prefix+"/") {
			return door, true
		}
	}
	return nil, false
}

func TestProgramsStaySmall(t *testing.T) {
	for program, banned := range mayNotLink {
		t.Run(program, func(t *testing.T) {
			for _, p := range goList(t, "./"+program) {
				for _, dep := range p.Deps {
					if slices.ContainsFunc(banned, func(b string) bool { return dep == b || strings.Contains(b, ".") && strings.HasPrefix(dep, b+"/") }) {
						t.Errorf("%s is linked in", dep)
					}
				}
			}
		})
	}
}

// A source is one file of the module.
type source struct {
	name string // from the root of the module
	file *ast.File
	set  *token.FileSet
}

func (s source) isTest() bool      { return strings.HasSuffix(s.name, "_test.go") }
func (s source) isGenerated() bool { return ast.IsGenerated(s.file) }

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	for _, p := range goList(t, "./...") {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles, p.IgnoredGoFiles) {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, source{name: path.Join(p.folder(), name), file: file, set: set})
		}
	}
	return list
}

func (s source) imports(wanted string) bool {
	return slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == fmt.Sprintf("%q", wanted) })
}

func TestUnsafeLivesInFewFiles(t *testing.T) {
	directive := regexp.MustCompile(`^//go:(nosplit|linkname|norace|nocheckptr)\b`)
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		if s.imports("unsafe") && !slices.Contains(unsafeFiles, s.name) {
			t.Errorf("%s imports unsafe and is not in unsafeFiles", s.name)
		}
		for _, group := range s.file.Comments {
			for _, comment := range group.List {
				if directive.MatchString(comment.Text) && s.name != unsafeFiles[0] {
					t.Errorf("%s: %s", s.set.Position(comment.Pos()), comment.Text)
				}
			}
		}
	}
}

func TestNobodyImportsBothRuntimes(t *testing.T) {
	for _, s := range sources(t) {
		if s.imports("runtime") && s.imports(module+"runtime") {
			t.Errorf("%s imports the runtime of Go and ours", s.name)
		}
	}
}

func TestPackagesAreExplained(t *testing.T) {
	for _, p := range goList(t, "./...") {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.folder())
		}
	}
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || s.isGenerated() {
			continue
		}
		if lines := s.set.File(s.file.FileStart).LineCount(); lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", s.name, lines, maxFileLines)
		}
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				if lines := s.linesOf(f); lines > maxFunctionLines {
					t.Errorf("%s: %s has %d lines, more than %d", s.name, f.Name.Name, lines, maxFunctionLines)
				}
			}
		}
	}
}

// linesOf counts the lines of a function on which something of its syntax
// begins or ends: neither blank lines nor comments.
func (s source) linesOf(f *ast.FuncDecl) int {
	line := func(pos token.Pos) int { return s.set.Position(pos).Line }
	code := map[int]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if n != nil {
			code[line(n.Pos())] = true
			code[line(n.End()-1)] = true
		}
		return true
	})
	return len(code)
}

// Names that fit anything say nothing, and what is started by an import cannot
// be ordered.
func TestNoEmptyNamesAndNoInit(t *testing.T) {
	empty := []string{"util", "utils", "helper", "helpers", "common", "types", "misc", "manager"}
	for _, s := range sources(t) {
		names := []string{strings.TrimSuffix(path.Base(s.name), ".go"), path.Base(path.Dir(s.name))}
		for _, name := range names {
			if slices.Contains(empty, strings.TrimSuffix(name, "_test")) {
				t.Errorf("%s: a name that says nothing", s.name)
			}
		}
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.name)
			}
		}
	}
}

// test/kernel imports package testing, which adds its flags to a program.
func TestKernelIsImportedByTestsOnly(t *testing.T) {
	for _, p := range goList(t, "./...") {
		if slices.Contains(p.Imports, module+"test/kernel") {
			t.Errorf("%s imports test/kernel", p.folder())
		}
	}
}
