// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// process is one line of the machine's process table, as far as it matters here.
type process struct {
	pid, parent, group int
	zombie             bool   // all its threads have ended
	headless           bool   // its first thread has ended, and others have not
	ticks              uint64 // when it began, in clock ticks since boot
}

// bootTicks is the time since boot in the unit of a process's beginning in /proc: 100 a second on every architecture that
// Go knows.
func bootTicks() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0 // it cannot fail; with 0 a process is known by its markers and logs only
	}
	return uint64(now.Nano()) / uint64(10*time.Millisecond)
}

// readProcess reads /proc/<pid>/stat; ok is false when there is no such process.
func readProcess(pid int) (p process, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p, false
	}
	// "pid (name) state parent group …": the name may hold anything, so count from the last parenthesis.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return p, false
	}
	w := strings.Fields(string(b[i+1:]))
	if len(w) < 20 {
		return p, false
	}
	p.pid = pid
	if w[0] == "Z" || w[0] == "X" {
		// It is the state of the first thread. While others live the process acts, and holds what it has locked.
		threads, err := strconv.Atoi(w[17])
		p.headless = err == nil && threads > 1
		p.zombie = !p.headless
	}
	p.parent, _ = strconv.Atoi(w[1])
	p.group, _ = strconv.Atoi(w[2])
	p.ticks, _ = strconv.ParseUint(w[19], 10, 64)
	return p, true
}

// processes lists the machine's processes but this one.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil && len(names) == 0 {
		return nil
	}
	var list []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := readProcess(pid); ok {
			list = append(list, p)
		}
	}
	return list
}

// orphans lists the children of this process that were forked by its first thread or have become its own as orphans: the
// kernel gives those to the first thread that lives, and Go's never ends. ok is false where the kernel does not tell
// (CONFIG_PROC_CHILDREN).
func orphans() (pids []int, ok bool) {
	b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children")
	if err != nil {
		return nil, false
	}
	for _, w := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(w); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, true
}

// groupLives says whether a process group has members, zombies among them.
func groupLives(group int) bool {
	return !errors.Is(syscall.Kill(-group, 0), syscall.ESRCH)
}

// folder is where /proc tells of the process; of one without its first thread it tells through another.
func (p process) folder() string {
	base := "/proc/" + strconv.Itoa(p.pid)
	if !p.headless {
		return base
	}
	threads, err := os.ReadDir(base + "/task")
	if err != nil {
		return base
	}
	for _, t := range threads {
		if thread := base + "/task/" + t.Name(); t.Name() != strconv.Itoa(p.pid) {
			if _, err := os.Readlink(thread + "/cwd"); err == nil {
				return thread
			}
		}
	}
	return base
}

// belongs says whether a process was started by the attempt that has the markers and the folder: it carries the markers in
// its environment, or its standard output or error is a log of the attempt.
func (p process) belongs(markers []string, folder string) bool {
	base := p.folder()
	if len(markers) > 0 {
		if env, err := os.ReadFile(base + "/environ"); err == nil {
			vars := strings.Split(string(env), "\x00")
			if !slices.ContainsFunc(markers, func(m string) bool { return !slices.Contains(vars, m) }) {
				return true
			}
		}
	}
	for _, fd := range []string{"/fd/1", "/fd/2"} {
		if path, err := os.Readlink(base + fd); err == nil && strings.HasPrefix(path, folder+"/alloc/logs/") {
			return true
		}
	}
	return false
}

// worksIn says whether the folder is the process's working folder. By itself that proves nothing: it may be somebody who
// looks around.
func (p process) worksIn(folder string) bool {
	cwd, err := os.Readlink(p.folder() + "/cwd")
	return err == nil && (cwd == folder || strings.HasPrefix(cwd, folder+"/"))
}

// siginfo is the kernel's siginfo_t for SIGCHLD on 64-bit machines; x/sys keeps these fields to itself.
type siginfo struct {
	signo, errno, code, _ int32
	pid                   int32
	_                     [108]byte
}

// endedChild returns a child that has ended and is not yet reaped, 0 when there is none, and ECHILD without children. The
// child stays a zombie, so that its pid and its group stay its own until reap.
func endedChild(wait bool) (pid int, err error) {
	options := uintptr(unix.WEXITED | unix.WNOWAIT)
	if !wait {
		options |= unix.WNOHANG
	}
	for {
		var info siginfo
		_, _, e := syscall.Syscall6(syscall.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&info)), options, 0, 0)
		switch {
		case e == syscall.EINTR:
		case e != 0:
			return 0, e
		default:
			return int(info.pid), nil
		}
	}
}

// reap removes a zombie and tells how it ended.
func reap(pid int) (syscall.WaitStatus, error) {
	for {
		var ws syscall.WaitStatus
		_, err := syscall.Wait4(pid, &ws, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return ws, err
		}
	}
}

// prepare makes the folders and files of an attempt, whose own folder exists.
func prepare(f attemptFolder, s *spec, owner *syscall.Credential) error {
	for _, dir := range []string{"alloc", "alloc/data", "alloc/logs", "alloc/tmp", f.task, f.task + "/local", f.task + "/secrets"} {
		path := filepath.Join(f.dir, dir)
		mode := os.FileMode(0o755)
		if strings.HasSuffix(dir, "/secrets") {
			mode = 0o700
		}
		if err := os.Mkdir(path, mode); err != nil {
			return err
		}
		if err := give(path, owner); err != nil {
			return err
		}
	}
	for _, file := range s.Files {
		path := filepath.Join(f.dir, file.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.Data), file.Mode); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(path, file.Mode), give(path, owner)); err != nil { // whatever the umask says
			return err
		}
	}
	return nil
}

func give(path string, owner *syscall.Credential) error {
	if owner == nil {
		return nil
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

// credential looks up a user to run as; nil for the user this process runs as.
func credential(name string) (*syscall.Credential, *user.User, error) {
	if name == "" {
		return nil, nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	ids, err3 := u.GroupIds()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, fmt.Errorf("user %s: %w", name, err)
	}
	if int(uid) == os.Geteuid() {
		return nil, u, nil
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return c, u, nil
}

// lookup finds the program as a Nomad client does: in the task's local folder, in the task's folder, as an absolute path, in
// the PATH (the task's own).
func lookup(command string, f attemptFolder, env []string) (string, error) {
	for _, path := range []string{filepath.Join(f.localDir(), command), filepath.Join(f.taskDir(), command)} {
		if st, err := os.Stat(path); err == nil && !st.IsDir() {
			return path, nil
		}
	}
	if strings.Contains(command, "/") {
		if !filepath.IsAbs(command) {
			return "", fmt.Errorf("command %q: there is no such file in the task's folder", command)
		}
		return command, nil
	}
	var path string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		candidate := filepath.Join(dir, command)
		if st, err := os.Stat(candidate); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("command %q is neither in the task's folder nor in the PATH (%s)", command, path)
}

// fork starts the attempt's process in a group of its own. It must run on the thread of a forker.
func fork(f attemptFolder, s *spec, stdin *os.File) (pid int, err error) {
	owner, u, err := credential(s.User)
	if err != nil {
		return 0, err
	}
	if err := prepare(f, s, owner); err != nil {
		return 0, err
	}
	env := s.Env
	if u != nil {
		env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return name == "USER" || name == "LOGNAME" || name == "HOME"
		})
		env = append(env, "USER="+u.Username, "LOGNAME="+u.Username, "HOME="+u.HomeDir)
	}
	program, err := lookup(s.Command, f, env)
	if err != nil {
		return 0, err
	}
	files := []uintptr{stdin.Fd()}
	for _, stderr := range []bool{false, true} {
		log, err := os.OpenFile(filepath.Join(f.dir, f.log(stderr)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return 0, err
		}
		defer log.Close()
		files = append(files, log.Fd())
	}
	dir := f.taskDir()
	switch {
	case filepath.IsAbs(s.WorkDir):
		dir = s.WorkDir
	case s.WorkDir != "":
		dir = filepath.Join(dir, s.WorkDir)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return 0, fmt.Errorf("work_dir %s is no folder", dir)
	}
	pid, err = syscall.ForkExec(program, append([]string{s.Command}, s.Args...), &syscall.ProcAttr{
		Dir: dir, Env: env, Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: owner},
	})
	switch {
	case err == nil:
		return pid, nil
	case errors.Is(err, syscall.EACCES) && owner != nil:
		return 0, fmt.Errorf("start %s: %w (user %s must be able to enter %s: set CAIRN_STATE_DIR to a folder where it can)", program, err, s.User, dir)
	case errors.Is(err, syscall.E2BIG):
		return 0, fmt.Errorf("start %s: %w (one argument or variable holds at most 128 KiB; pass larger data by file)", program, err)
	}
	return 0, fmt.Errorf("start %s: %w", program, err)
}

// kill sends a signal to a process, or to a group when pid is negative; one that has ended is no error.
func kill(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
