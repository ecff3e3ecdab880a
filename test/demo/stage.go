// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/term"
)

// stage runs commands in a throw-away HOME and shows them.
type stage struct {
	ctx    context.Context
	home   string
	bin    string
	image  string
	colour bool
	mu     sync.Mutex
}

func newStage(ctx context.Context, home string) *stage {
	return &stage{
		ctx: ctx, home: home, bin: filepath.Join(home, "bin"), image: filepath.Join(home, "image.tar"),
		colour: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "",
	}
}

// build makes regmint, its helper, crane and a small image.
func (s *stage) build() error {
	cmd := exec.CommandContext(s.ctx, "go", "build", "-o", s.bin+"/",
		"./cmd/regmint", "./cmd/docker-credential-regmint", "github.com/google/go-containerregistry/cmd/crane")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	text := []byte("hello from regmint\n")
	if err := w.WriteHeader(&tar.Header{Name: "hello.txt", Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	path := filepath.Join(s.home, "layer.tar")
	if err := os.WriteFile(path, layer.Bytes(), 0o600); err != nil {
		return err
	}
	l, err := tarball.LayerFromFile(path)
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	ref, err := name.NewTag("demo/app:1")
	if err != nil {
		return err
	}
	return tarball.WriteToFile(s.image, ref, img)
}

// command is a command of the demo's own world: its HOME, its PATH, nothing of
// the person's configuration.
func (s *stage) command(args ...string) *exec.Cmd {
	path := filepath.Join(s.bin, args[0])
	if _, err := os.Stat(path); err != nil {
		path = args[0]
	}
	cmd := exec.CommandContext(s.ctx, path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = s.home
	cmd.Env = []string{
		"HOME=" + s.home, "PATH=" + s.bin + ":/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"),
		"REGMINT_RUNTIME_DIR=" + filepath.Join(s.home, "run"),
	}
	return cmd
}

func (s *stage) run(args ...string) error { return s.runWith("", args...) }

// runWith shows a command and what it says, each line in one piece.
func (s *stage) runWith(stdin string, args ...string) error {
	cmd := s.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prompt(args)
	s.block(out.String())
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// quiet runs a command for its effect.
func (s *stage) quiet(args ...string) {
	cmd := s.command(args...)
	cmd.Env = append(cmd.Env, "NO_COLOR=1")
	_ = cmd.Run()
}

func (s *stage) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *stage) title(text string) { fmt.Println("\n" + s.paint("1;36", "── "+text)) }

func (s *stage) say(format string, args ...any) {
	fmt.Println(s.paint("2", "   "+fmt.Sprintf(format, args...)))
}

func (s *stage) prompt(args []string) {
	line := strings.Join(args, " ")
	fmt.Println(" " + s.paint("32", "$") + " " + s.paint("1", strings.ReplaceAll(line, s.home, "~")))
}

func (s *stage) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Println("     " + strings.TrimRight(strings.ReplaceAll(line, s.home, "~"), "\n"))
	}
}
