package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/besterhub/bester/hub/spool/compare/load"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// mosquitto is the broker of Debian with QoS 1, a subscriber that is offline, and its
// most durable setting.
type mosquitto struct {
	*process
	port   int
	client mqtt.Client
	gone   chan struct{} // the connection is
}

func (m *mosquitto) name() string { return "mosquitto" }

func (m *mosquitto) program() string {
	if path, err := exec.LookPath("mosquitto"); err == nil {
		return path
	}
	return "/usr/sbin/mosquitto"
}

func (m *mosquitto) version() (string, error) {
	out, _ := exec.Command(m.program(), "-h").Output() // it ends with 1
	first, _, _ := strings.Cut(string(out), "\n")
	v, ok := strings.CutPrefix(first, "mosquitto version ")
	if !ok {
		return "", fmt.Errorf("%s -h: unexpected %q", m.program(), first)
	}
	return v, nil
}

func (m *mosquitto) start(dir string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf(`listener %d 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location %s/
autosave_interval 1
autosave_on_changes true
max_queued_messages 0
log_type error
`, port, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := start(command(m.program(), "-c", config))
	if err != nil {
		return err
	}
	*m = mosquitto{process: p, port: port, gone: make(chan struct{})}
	gone := m.gone
	err = p.await("mosquitto", func() error {
		m.client, err = m.connect(mqtt.NewClientOptions().SetClientID("writer").
			SetConnectionLostHandler(func(mqtt.Client, error) { close(gone) }))
		return err
	})
	if err != nil {
		return err
	}
	return m.subscribe()
}

// subscribe creates the session for which records are kept; the subscriber is offline
// from then on.
func (m *mosquitto) subscribe() error {
	return m.subscriber(false, nil, func(c mqtt.Client) error {
		t := c.Subscribe("record", 1, nil)
		t.Wait()
		return t.Error()
	})
}

func (m *mosquitto) connect(o *mqtt.ClientOptions) (mqtt.Client, error) {
	c := mqtt.NewClient(o.AddBroker(fmt.Sprintf("tcp://127.0.0.1:%d", m.port)).SetAutoReconnect(false).
		SetConnectTimeout(5 * time.Second))
	t := c.Connect()
	t.Wait()
	return c, t.Error()
}

// subscriber connects as the offline subscriber, gets what is kept unless it begins
// anew, and disconnects.
func (m *mosquitto) subscriber(anew bool, got mqtt.MessageHandler, f func(mqtt.Client) error) error {
	c, err := m.connect(mqtt.NewClientOptions().SetClientID("reader").SetCleanSession(anew).SetDefaultPublishHandler(got))
	if err != nil {
		return err
	}
	defer c.Disconnect(100)
	return f(c)
}

func (m *mosquitto) load(l load.Load) (load.Result, error) { return load.Drive(l, m.append) }

func (m *mosquitto) append(data []byte) error {
	t := m.client.Publish("record", 1, false, append([]byte(nil), data...))
	select {
	case <-t.Done():
		if !m.client.IsConnectionOpen() {
			return errGone
		}
		return t.Error()
	case <-m.gone:
		return errGone
	}
}

func (m *mosquitto) kill() {
	m.process.kill()
	m.client.Disconnect(0)
}

func (m *mosquitto) stop() error {
	m.client.Disconnect(0)
	return m.process.stop()
}

// drain ends the subscriber's session and begins another.
func (m *mosquitto) drain() error {
	return cmp.Or(m.subscriber(true, nil, func(mqtt.Client) error { return nil }), m.subscribe())
}

// records lets the subscriber come back; a last record marks the end.
func (m *mosquitto) records(f func(data []byte)) error {
	const end = "the end"
	ended := make(chan struct{})
	return m.subscriber(false, func(_ mqtt.Client, r mqtt.Message) {
		if string(r.Payload()) == end {
			close(ended)
			return
		}
		f(r.Payload())
	}, func(mqtt.Client) error {
		if t := m.client.Publish("record", 1, false, end); t.Wait() && t.Error() != nil {
			return t.Error()
		}
		select {
		case <-ended:
			return nil
		case <-time.After(60 * time.Second):
			return errors.New("mosquitto: what it keeps does not come to an end")
		}
	})
}
