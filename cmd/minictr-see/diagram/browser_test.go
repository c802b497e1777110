package diagram

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// browsers are the names under which Chromium may be there; the first is the smallest.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser"}

// checkScript measures what a browser has made of the pictures of a page, and writes
// what is wrong with them into the page: text that leaves its room, its card or the
// picture, and things that lie over each other.
const checkScript = `
const wrong = [];
const inside = (a, b) => a.left >= b.left-1 && a.right <= b.right+1 && a.top >= b.top-1 && a.bottom <= b.bottom+1;
const overlap = (a, b) => Math.min(a.right, b.right)-Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom)-Math.max(a.top, b.top) > 3;
for (const svg of document.querySelectorAll("svg")) {
	const say = (what, ...of) => wrong.push(svg.parentNode.id + ": " + what + ": " + of.map(e => e.textContent || e.getAttribute("class") + " " + e.getAttribute("d")).join(" / "));
	const box = new Map(), rect = e => { if (!box.has(e)) box.set(e, e.getBoundingClientRect()); return box.get(e); };
	const texts = [...svg.querySelectorAll("text")].filter(t => t.textContent.trim()), whole = rect(svg);
	for (const t of texts) {
		if (!inside(rect(t), whole)) say("outside of the picture", t);
		if (rect(t).width < 1) say("is not drawn", t);
	}
	for (let i = 0; i < texts.length; i++) for (let j = i+1; j < texts.length; j++) if (overlap(rect(texts[i]), rect(texts[j]))) say("texts overlap", texts[i], texts[j]);
	const places = [...svg.querySelectorAll("g.place")];
	for (const g of places) {
		const room = rect(g.querySelector("rect.room"));
		if (!inside(room, whole)) say("room outside of the picture", g);
		for (const e of [...texts.filter(t => g.contains(t)), ...g.querySelectorAll("rect")]) if (!inside(rect(e), room)) say("leaves its room", e);
		const cards = [...g.querySelectorAll("rect.card, rect.switch")];
		for (let i = 0; i < cards.length; i++) for (let j = i+1; j < cards.length; j++) if (overlap(rect(cards[i]), rect(cards[j]))) say("cards overlap", cards[i], cards[j]);
		for (const t of g.querySelectorAll("text")) for (const c of cards) if (overlap(rect(t), rect(c)) && !inside(rect(t), rect(c))) say("leaves its card", t);
	}
	for (let i = 0; i < places.length; i++) for (let j = i+1; j < places.length; j++)
		if (overlap(rect(places[i].querySelector("rect.room")), rect(places[j].querySelector("rect.room")))) say("rooms overlap", places[i], places[j]);
	for (const path of svg.querySelectorAll("path.cable, path.arrowout, path.arrowin, path.skyline, path.wire")) {
		const at = path.getScreenCTM();
		for (let s = 0, n = path.getTotalLength(); s < n; s += 3) {
			const p = path.getPointAtLength(s).matrixTransform(at);
			const hit = texts.find(t => { const r = rect(t); return p.x > r.left+1 && p.x < r.right-1 && p.y > r.top+3 && p.y < r.bottom-3; });
			if (hit) { say("a line crosses text", path, hit); break; }
		}
	}
}
document.getElementById("wrong").textContent = JSON.stringify(wrong);
`

// page is an HTML page with the pictures in it.
func page(pictures map[string]string) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html><html><head><meta charset=\"utf-8\"></head><body>")
	for _, name := range sortedKeys(pictures) {
		fmt.Fprintf(&b, `<div id="%s">%s</div>`, html.EscapeString(name), pictures[name])
	}
	return b.String() + `<pre id="wrong">not measured</pre><script>` + checkScript + "</script></body></html>"
}

// browse runs the browser, in a network namespace with nothing in it.
func browse(t *testing.T, args ...string) string {
	t.Helper()
	name := ""
	for _, b := range browsers {
		if path, err := exec.LookPath(b); err == nil && name == "" {
			name = path
		}
	}
	if name == "" {
		kernel.RequireCommand(t, browsers[0])
	}
	kernel.RequireRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + t.TempDir(), "--virtual-time-budget=5000",
	}, args...)...)
	var out []byte
	var err error
	kernel.NewNetns(t).Do(t, func() { out, err = c.Output() })
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

// measure returns what is wrong with the pictures.
func measure(t *testing.T, pictures map[string]string) (wrong []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page(pictures)), 0o644); err != nil {
		t.Fatal(err)
	}
	dom := browse(t, "--dump-dom", "file://"+file)
	found := regexp.MustCompile(`(?s)<pre id="wrong">(.*?)</pre>`).FindStringSubmatch(dom)
	if found == nil {
		t.Fatalf("the page has no answer: %.500s", dom)
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &wrong); err != nil {
		t.Fatalf("%v: %s", err, found[1])
	}
	return wrong
}

// In a real browser nothing lies over another thing, and nothing is cut.
func TestBrowserShowsAll(t *testing.T) {
	pictures := map[string]string{}
	for name, p := range samples() {
		pictures[name] = p.Collapse().SVG()
	}
	pictures["all"] = samples()["hundred"].SVG()
	for i, name := range hostileNames {
		pictures[fmt.Sprintf("hostile %d", i)] = named(name).SVG()
	}
	for seed := range uint64(40) {
		pictures[fmt.Sprintf("random %d", seed)] = random(seed).Collapse().SVG()
	}
	for _, w := range measure(t, pictures) {
		t.Error(w)
	}
}

// What is measured can be wrong.
func TestBrowserSeesFaults(t *testing.T) {
	svg := samples()["three"].SVG()
	broken := map[string]string{
		"texts overlap":          regexp.MustCompile(`(class="address")>172.17.0.2/16`).ReplaceAllString(svg, `$1 dy="-16">172.17.0.2/16`),
		"leaves its card":        strings.Replace(svg, ">172.17.0.1/16<", ">172.17.0.1/16 and so on and so on<", 1),
		"leaves its room":        strings.Replace(svg, ">web<", ">"+strings.Repeat("web", 40)+"<", 1),
		"outside of the picture": strings.Replace(svg, `viewBox="0 0`, `viewBox="300 0`, 1),
		"rooms overlap":          strings.Replace(svg, `<g class="place" data-room="minictr:db"><rect class="room"`, `<g class="place" data-room="minictr:db"><rect transform="translate(0 40)" class="room"`, 1),
		"a line crosses text":    strings.Replace(svg, `class="arrowout" d="M`, `class="arrowout" transform="translate(0 -10)" d="M`, 1),
	}
	said := strings.Join(measure(t, broken), "\n")
	for fault := range broken {
		if !strings.Contains(said, fault+": "+fault) {
			t.Errorf("%s: not seen; %s", fault, said)
		}
	}
}

// It is a picture of its own, and not the same in the light and in the dark.
func TestBrowserDrawsImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "map.svg")
	if err := os.WriteFile(file, []byte(samples()["mixed"].SVG()), 0o644); err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for name, scheme := range map[string]string{"light": "1", "dark": "0"} {
		image := filepath.Join(t.TempDir(), name+".png")
		browse(t, "--window-size=1400,800", "--blink-settings=preferredColorScheme="+scheme, "--screenshot="+image, "file://"+file)
		info, err := os.Stat(image)
		if err != nil {
			t.Fatal(err)
		}
		sizes[name] = info.Size()
		if keep := os.Getenv("MINICTR_KEEP_IMAGES"); keep != "" {
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(keep, name+".png"), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sizes["light"] < 20_000 || sizes["dark"] < 20_000 || sizes["light"] == sizes["dark"] {
		t.Errorf("%v bytes", sizes)
	}
}
