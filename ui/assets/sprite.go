//go:build ignore

// Sprite makes icons.svg of the icons that icons.txt names.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var path = regexp.MustCompile(`<path d="([^"]+)" ?/>`)

func main() {
	log.SetFlags(0)
	dirs, err := filepath.Glob("vendor/mdi@*")
	if err != nil || len(dirs) != 1 {
		log.Fatalf("want one folder vendor/mdi@*, found %v", dirs)
	}
	names, err := os.ReadFile("icons.txt")
	if err != nil {
		log.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\"><!-- Material Design Icons %s, Pictogrammers, Apache-2.0 -->\n",
		strings.TrimPrefix(filepath.Base(dirs[0]), "mdi@"))
	for name := range strings.FieldsSeq(string(names)) {
		icon, err := os.ReadFile(filepath.Join(dirs[0], name+".svg"))
		if err != nil {
			log.Fatal(err)
		}
		m := path.FindSubmatch(icon)
		if m == nil {
			log.Fatalf("%s: no single path", name)
		}
		fmt.Fprintf(&b, "<symbol id=\"%s\" viewBox=\"0 0 24 24\"><path d=\"%s\"/></symbol>\n", name, m[1])
	}
	b.WriteString("</svg>\n")
	if err := os.WriteFile("icons.svg", b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
