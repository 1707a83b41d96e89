package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

type driveOptions struct {
	target, path         string
	body                 []byte
	stream               bool
	connections, streams int
	length               time.Duration
	rate                 float64
	cert, key, ca        string
}

// Report is what a run gives. Times are in microseconds.
type Report struct {
	Requests   int     `json:"requests"`
	PerSecond  float64 `json:"perSecond"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	P999       float64 `json:"p999"`
	Max        float64 `json:"max"`
	AnswerSize int     `json:"answerBytes"`
}

// client is one connection. One goroutine reads, one writes.
type client struct {
	options driveOptions
	conn    net.Conn
	writer  *bufio.Writer
	framer  *http2.Framer
	head    []byte
	// slots lets a request go when there is a place for it; due carries when each was to be sent.
	slots chan struct{}
	// credit is the connection's send window; more tells that it grew.
	credit atomic.Int64
	more   chan struct{}
	// owed is what was received and not yet given back to the connection's window; the writer does that.
	owed  atomic.Uint32
	mutex sync.Mutex
	// due: per stream for unary calls, in the order of sending on the one stream of a streaming call.
	due     map[uint32]time.Time
	queue   []time.Time
	counted messages
	took    []time.Duration
	size    int
	done    chan struct{}
	err     error
}

func drive(options driveOptions) (*Report, error) {
	clients := make([]*client, options.connections)
	for i := range clients {
		c, err := dial(options)
		if err != nil {
			return nil, err
		}
		defer c.conn.Close()
		clients[i] = c
	}
	start := time.Now()
	stop := start.Add(options.length)
	var group sync.WaitGroup
	for i, c := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			c.send(start, stop, i)
		}()
	}
	group.Wait()
	elapsed := time.Since(start)
	var all []time.Duration
	size := 0
	for _, c := range clients {
		c.mutex.Lock()
		all = append(all, c.took...)
		size = c.size
		err := c.err
		c.mutex.Unlock()
		if err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no answer came")
	}
	slices.Sort(all)
	at := func(share float64) float64 {
		return float64(all[min(len(all)-1, int(share*float64(len(all))))]) / float64(time.Microsecond)
	}
	return &Report{
		Requests: len(all), PerSecond: float64(len(all)) / elapsed.Seconds(), Seconds: elapsed.Seconds(),
		P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1), AnswerSize: size,
	}, nil
}

func dial(options driveOptions) (*client, error) {
	conn, err := net.DialTimeout("tcp", options.target, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if options.cert != "" {
		if conn, err = secure(conn, options); err != nil {
			return nil, err
		}
	}
	scheme := "http"
	if options.cert != "" {
		scheme = "https"
	}
	c := &client{
		options: options,
		conn:    conn,
		writer:  bufio.NewWriterSize(conn, bufferBytes),
		head: block(
			[2]string{":method", "POST"}, [2]string{":scheme", scheme}, [2]string{":path", options.path},
			[2]string{":authority", options.target}, [2]string{"te", "trailers"}, [2]string{"content-type", "application/grpc"},
		),
		slots: make(chan struct{}, options.streams),
		more:  make(chan struct{}, 1),
		due:   map[uint32]time.Time{},
		done:  make(chan struct{}),
	}
	c.credit.Store(65535)
	c.framer = http2.NewFramer(c.writer, bufio.NewReaderSize(conn, bufferBytes))
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(frameBytes)
	if _, err := c.writer.WriteString(http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0},
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
	); err != nil {
		return nil, err
	}
	if err := c.framer.WriteWindowUpdate(0, window); err != nil {
		return nil, err
	}
	if err := c.writer.Flush(); err != nil {
		return nil, err
	}
	go c.receive()
	return c, nil
}

func secure(conn net.Conn, options driveOptions) (net.Conn, error) {
	pair, err := tls.LoadX509KeyPair(options.cert, options.key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(options.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	host, _, _ := net.SplitHostPort(options.target)
	secured := tls.Client(conn, &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: host, NextProtos: []string{"h2"},
	})
	return secured, secured.Handshake()
}

func (c *client) fail(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// send keeps the connection busy until the time is up, then waits for what is in flight, for two seconds at most.
func (c *client) send(start, stop time.Time, index int) {
	var interval time.Duration
	next := start
	if c.options.rate > 0 {
		interval = time.Duration(float64(c.options.connections) / c.options.rate * float64(time.Second))
		next = start.Add(interval * time.Duration(index) / time.Duration(c.options.connections))
	}
	id := uint32(1)
	opened := false
	for {
		now := time.Now()
		if !now.Before(stop) {
			break
		}
		if owed := c.owed.Swap(0); owed > 0 {
			if err := c.framer.WriteWindowUpdate(0, owed); err != nil {
				c.fail(err)
				return
			}
		}
		if interval > 0 {
			if wait := next.Sub(now); wait > 0 {
				_ = c.writer.Flush()
				time.Sleep(wait)
			}
			now = next
			next = next.Add(interval)
		}
		select {
		case c.slots <- struct{}{}:
		default:
			_ = c.writer.Flush()
			select {
			case c.slots <- struct{}{}:
			case <-c.done:
				return
			case <-time.After(5 * time.Second):
				c.fail(errors.New("no answer for five seconds"))
				return
			}
			if interval == 0 {
				now = time.Now()
			}
		}
		for c.credit.Load() < int64(len(c.options.body)) {
			_ = c.writer.Flush()
			select {
			case <-c.more:
			case <-c.done:
				return
			}
		}
		c.credit.Add(-int64(len(c.options.body)))
		c.mutex.Lock()
		if c.options.stream {
			c.queue = append(c.queue, now)
		} else {
			c.due[id] = now
		}
		c.mutex.Unlock()
		if !opened || !c.options.stream {
			opened = true
			if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.head, EndHeaders: true}); err != nil {
				c.fail(err)
				return
			}
		}
		if err := c.framer.WriteData(id, !c.options.stream, c.options.body); err != nil {
			c.fail(err)
			return
		}
		if !c.options.stream {
			id += 2
		}
	}
	_ = c.writer.Flush()
	deadline := time.Now().Add(2 * time.Second)
	for len(c.slots) > 0 && time.Now().Before(deadline) {
		select {
		case <-c.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *client) answered(due time.Time, size int) {
	c.took = append(c.took, time.Since(due))
	c.size = size
	<-c.slots
}

func (c *client) receive() {
	defer close(c.done)
	consumed := 0
	status := ""
	size := 0
	decoder := hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if field.Name == "grpc-status" || (field.Name == ":status" && field.Value != "200") || field.Name == "grpc-message" {
			status += field.Name + " " + field.Value + " "
		}
	})
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			if len(c.slots) > 0 {
				c.fail(err)
			}
			return
		}
		switch f := frame.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				c.credit.Add(int64(f.Increment))
				select {
				case c.more <- struct{}{}:
				default:
				}
			}
		case *http2.HeadersFrame:
			status = ""
			_, err := decoder.Write(f.HeaderBlockFragment())
			if err = errors.Join(err, decoder.Close()); err != nil {
				c.fail(err)
				return
			}
			if !f.StreamEnded() {
				if status != "" {
					c.fail(fmt.Errorf("answered with %s", status))
					return
				}
				continue
			}
			if !strings.HasPrefix(status, "grpc-status 0 ") {
				c.fail(fmt.Errorf("ended with %s", status))
				return
			}
			c.mutex.Lock()
			if due, found := c.due[f.StreamID]; found {
				delete(c.due, f.StreamID)
				c.answered(due, size)
			}
			c.mutex.Unlock()
		case *http2.DataFrame:
			consumed += int(f.Length)
			if consumed > window/2 {
				if c.options.stream {
					c.fail(errors.New("the run is longer than its stream's window"))
					return
				}
				c.owed.Add(uint32(consumed))
				consumed = 0
			}
			size = int(f.Length)
			if c.options.stream {
				n := c.counted.add(f.Data())
				c.mutex.Lock()
				for ; n > 0 && len(c.queue) > 0; n-- {
					c.answered(c.queue[0], size)
					c.queue = c.queue[1:]
				}
				c.mutex.Unlock()
			}
		case *http2.RSTStreamFrame:
			c.fail(fmt.Errorf("the stream was reset: %v", f.ErrCode))
			return
		case *http2.GoAwayFrame:
			c.fail(fmt.Errorf("the connection was ended: %v", f.ErrCode))
			return
		}
	}
}
