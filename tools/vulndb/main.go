// Command vulndb answers whether govulncheck has a database to look into. It
// prints ok when the database can be read and names at least one module, and
// otherwise, on one line, why not. With an empty database govulncheck would
// report that there are no vulnerabilities.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const public = "https://vuln.go.dev"

func main() {
	db := os.Getenv("GOVULNDB")
	if db == "" {
		db = public
	}
	if err := look(db); err != nil {
		fmt.Printf("the database %s: %v\n", db, err)
		return
	}
	fmt.Println("ok")
}

func look(db string) error {
	u, err := url.Parse(db)
	if err != nil {
		return err
	}
	var index io.ReadCloser
	if u.Scheme == "file" {
		index, err = os.Open(filepath.Join(u.Path, "index", "modules.json"))
	} else {
		index, err = fetch(u.JoinPath("index", "modules.json").String())
	}
	if err != nil {
		return err
	}
	defer index.Close()
	var modules []struct {
		Path string `json:"path"`
	}
	if err := json.NewDecoder(index).Decode(&modules); err != nil {
		return fmt.Errorf("its index cannot be read: %w", err)
	}
	if len(modules) == 0 {
		return fmt.Errorf("it names no module at all")
	}
	return nil
}

func fetch(u string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("it cannot be reached: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	return body{resp.Body, cancel}, nil
}

// body ends its request's context when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
