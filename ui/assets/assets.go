// Package assets holds what pages load beside their HTML: style, script and
// icons, embedded and served under names that carry a hash of the content, so
// that a browser may keep them for ever.
//
// [URL] gives the address of an asset, [Handler] serves them.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:generate go run sprite.go

//go:embed app.css live.js icons.svg lar.svg icons.txt
var files embed.FS

// Prefix is where assets live on the server.
const Prefix = "/assets/"

// An asset is a file as it is served.
type asset struct {
	url    string
	kind   string // Content-Type
	plain  []byte
	packed []byte // by gzip; nil where that saves nothing
}

var kinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// byName and byURL are filled once, from what was embedded, and not changed.
var byName, byURL = load()

var icons = loadIcons()

func load() (byName, byURL map[string]*asset) {
	byName, byURL = map[string]*asset{}, map[string]*asset{}
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // embedded: it cannot be otherwise
	}
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if kinds[ext] == "" {
			continue
		}
		body, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		a := &asset{
			url:   Prefix + strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:5]) + ext,
			kind:  kinds[ext],
			plain: body,
		}
		if z := pack(body); len(z) < len(body) {
			a.packed = z
		}
		byName[e.Name()], byURL[a.url] = a, a
	}
	return byName, byURL
}

func loadIcons() map[string]bool {
	list, err := files.ReadFile("icons.txt")
	if err != nil {
		panic(err)
	}
	icons := map[string]bool{}
	for name := range strings.FieldsSeq(string(list)) {
		icons[name] = true
	}
	return icons
}

func pack(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level exists
	z.Write(body)                                         // a buffer does not fail
	z.Close()
	return b.Bytes()
}

// URL returns the address of an asset, "app.css". It panics when there is no
// such asset, which a test of any page finds.
func URL(name string) string {
	a := byName[name]
	if a == nil {
		panic("no asset " + name)
	}
	return a.url
}

// Icon returns the address of an icon by its Material Design name,
// "lightbulb", and whether there is one.
func Icon(name string) (url string, ok bool) {
	return byName["icons.svg"].url + "#" + name, icons[name]
}

// Size returns how many bytes an asset takes on the wire, compressed.
func Size(name string) int {
	a := byName[name]
	if a.packed != nil {
		return len(a.packed)
	}
	return len(a.plain)
}

// Handler serves what is below [Prefix].
func Handler(w http.ResponseWriter, r *http.Request) {
	a := byURL[r.URL.Path]
	if a == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	etag := `"` + a.url[len(Prefix):] + `"`
	if a.packed != nil && AcceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body, etag = a.packed, etag[:len(etag)-1]+`.gz"`
	}
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// AcceptsGzip tells whether an answer may be compressed by gzip.
func AcceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}
