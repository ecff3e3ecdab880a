// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fullBacklog listens at socket, fills its backlog, and returns what accepts
// all who wait.
func fullBacklog(t *testing.T, socket string) (accept func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		c, err := connect(socket)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil || i == 64 {
			t.Skipf("a full backlog shows as %v here", err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return func() {
		_ = unix.SetNonblock(fd, true)
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				return
			}
			_ = unix.Close(c)
		}
	}
}

func TestASocketIsForItsOwnerAloneWhateverTheUmask(t *testing.T) {
	dir := shortDir(t)
	for i, umask := range []int{0, 0o022, 0o077, 0o777} {
		socket := filepath.Join(dir, strconv.Itoa(i))
		old := syscall.Umask(umask)
		l, err := Listen(socket)
		syscall.Umask(old)
		if err != nil {
			t.Errorf("umask %04o: %v", umask, err)
			continue
		}
		info, err := os.Lstat(socket)
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("umask %04o: %v, %v", umask, info.Mode(), err)
		}
		_ = l.Close()
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("umask %04o: the closed socket stays: %v", umask, err)
		}
	}
}

func TestListenRefusesDirectoriesThatOthersShare(t *testing.T) {
	base := shortDir(t)
	mkdir := func(name string, mode os.FileMode) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(mkdir("target", 0o700), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{mkdir("group", 0o750), mkdir("other", 0o701), mkdir("all", 0o777), link} {
		if _, err := Listen(filepath.Join(dir, "s")); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if os.Getuid() != 0 {
		t.Log("not root: a directory of another user is not tried")
		return
	}
	foreign := mkdir("foreign", 0o700)
	if err := os.Chown(foreign, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(foreign, "s")); !errors.Is(err, ErrUnsafe) {
		t.Errorf("%s: %v", foreign, err)
	}
}

func TestOnlyADeadSocketIsReplaced(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	live, err := Listen(socket)
	if err != nil {
		t.Fatalf("a dead socket is not replaced: %v", err)
	}
	before, _ := os.Lstat(socket)
	if _, err := Listen(socket); !errors.Is(err, ErrInUse) {
		t.Errorf("%v, want ErrInUse", err)
	}
	after, err := os.Lstat(socket)
	if err != nil || !os.SameFile(before, after) {
		t.Error("a live socket was touched")
	}
	_ = live.Close()
	for name, plant := range map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"fifo":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"link":      func(p string) error { return os.Symlink("/etc/passwd", p) },
	} {
		path := filepath.Join(dir, name)
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(path); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s was removed", name)
		}
	}
}

func TestOfManyListenersAtOnceOneWins(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	var mu sync.Mutex
	var won []net.Listener
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			l, err := Listen(socket)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, l)
			} else if !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d listeners", len(won))
	}
	_ = won[0].Close()
}

func TestPeersAreKnownByTheKernelsWord(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := PeerOf(a); !errors.Is(err, ErrPeer) {
		t.Errorf("a pipe has a peer: %v", err)
	}
	socket := filepath.Join(shortDir(t), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := connect(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if p, err := PeerOf(s); err != nil || p != (Peer{UID: os.Geteuid(), PID: os.Getpid()}) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWhoMayUseAMainSocket(t *testing.T) { // H87, T14
	for _, tc := range []struct {
		uid       int
		allowRoot bool
		own       int
		want      bool
	}{
		{1000, true, 1000, true},
		{1000, false, 1000, true},
		{1001, true, 1000, false},
		{0, true, 1000, true},
		{0, false, 1000, false},
		{0, false, 0, true},
		{1000, true, 0, false},
		{65534, true, 1000, false},
		{65534, true, 65534, false},
		{-1, true, 1000, false},
	} {
		err := allowPeer(Peer{UID: tc.uid}, tc.allowRoot, tc.own, 65534)
		if (err == nil) != tc.want || (err != nil && !errors.Is(err, ErrPeer)) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	if err := AllowPeer(Peer{UID: os.Geteuid()}, false); err != nil && os.Geteuid() != OverflowUID() {
		t.Error(err)
	}
}

// asUser runs the test binary in a role under another uid.
func asUser(t *testing.T, uid uint32, role string, env ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to act as another user: sudo -E go test ./agent/api")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Another user reaches neither the build directory nor t.TempDir.
	dir, err := os.MkdirTemp("/tmp", "rm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	copied := filepath.Join(dir, "t")
	data, err := os.ReadFile(exe)
	if err == nil {
		err = os.WriteFile(copied, data, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), copied)
	cmd.Env = append([]string{testRole + "=" + role}, env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// openDir is a directory that every user may write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rm")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestAnImpostorsSocketHearsNotAByte(t *testing.T) { // H89
	dir := openDir(t)
	socket := filepath.Join(dir, "s")
	cmd := asUser(t, 12345, "listen", "REGMINT_API_TEST_SOCKET="+socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "listening" {
		t.Fatal(lines.Text())
	}
	eachContext(t, func(t *testing.T, ctx context.Context) {
		_, err := Dial(ctx, socket)
		if !errors.Is(err, ErrUnsafe) || errors.Is(err, ErrNoAgent) {
			t.Errorf("%v, want ErrUnsafe", err)
		}
		wantError(t, err, "served by uid 12345")
		if !lines.Scan() || lines.Text() != "heard nothing" {
			t.Errorf("the impostor %s", lines.Text())
		}
	})
	// The same server is right where the directory is its own: a job's.
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), socket)
	if err != nil {
		t.Fatalf("the owner of the directory is refused: %v", err)
	}
	_ = c.Close()
}

func TestAnotherUserIsTurnedAwayWhateverItsPathSays(t *testing.T) { // H88, T14
	dir := openDir(t)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket) // wide open: the peer check is the last line
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := asUser(t, 12345, "dial", "REGMINT_API_TEST_SOCKET="+socket, "REGMINT_API_TEST_FROM="+filepath.Join(dir, ";uid=0;"))
	seen := make(chan Peer, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p, _ := PeerOf(c)
		if AllowPeer(p, true) == nil {
			_, _ = c.Write([]byte("a secret"))
		}
		_ = c.Close()
		seen <- p
	}()
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "read 0 bytes" {
		t.Errorf("%s%v", out, err)
	}
	if p := <-seen; p.UID != 12345 || p.PID == 0 {
		t.Errorf("%+v", p)
	}
}

func TestTheOverflowUIDIsTheKernels(t *testing.T) {
	want := 65534
	if b, err := os.ReadFile("/proc/sys/kernel/overflowuid"); err == nil {
		want, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	if got := OverflowUID(); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}
