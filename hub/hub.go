// Package hub puts the house together: it opens the data folder, makes the
// broker, the model of the devices, the rules and the pages, joins them, and
// starts and stops them in an order that loses nothing.
package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/devices/history"
	"lar.home/hub/config"
	"lar.home/hub/control"
	"lar.home/hub/identity"
	"lar.home/hub/listen"
	"lar.home/hub/mdns"
	"lar.home/hub/outbox"
	"lar.home/hub/settings"
	"lar.home/hub/store"
	"lar.home/mqtt"
	"lar.home/ui"
)

const (
	// stopWithin bounds a stop, so that whoever waits for it (a person, or
	// the system that goes down) need not kill the hub.
	stopWithin = 4500 * time.Millisecond
	// pagesWithin is the part of it that answers under way may take.
	pagesWithin = time.Second
	// localWithin is how long a start waits for somebody to answer for the
	// machine's .local name, and localEvery how often it is asked later.
	localWithin = 250 * time.Millisecond
	localEvery  = time.Minute
	// birthAgain is how long after the start clients have come back: the
	// libraries try again after 1 to 5 s.
	birthAgain = 10 * time.Second
	// devicesBack is how long after the start commands that may not have left
	// before it are given again: most devices are back then to hear them.
	devicesBack = 6 * time.Second
	// folderAgain is how often a start that found a folder which it could not
	// write looks whether it can now.
	folderAgain = 2 * time.Second
	// lastWordsWithin is how long clients get to take the last words of a hub
	// that cannot write anything: there is no disk to wait for.
	lastWordsWithin = 500 * time.Millisecond
)

// A Config says how a hub is to run. Its errors name the flags of lar that
// these fields are set by.
type Config struct {
	Dir            string // the data folder
	MQTT           string // where clients connect, ":1883", or config.Off
	HTTP           string // where pages are served, ":8080", or config.Off
	HTTPS          config.HTTPS
	MDNS           bool   // make the hub known on the local network
	AllowAnonymous bool   // let clients of the local network in without a credential
	Sync           string // when a write counts as durable: a store.Sync, "always" if empty
	Listeners      []listen.Config
	Home           config.Home
	Rights         config.Rights
	History        config.History
	DiskPercent    int // of the free disk that what waits may take; 0: 25
	Limits         mqtt.Limits
	Devices        config.Devices
	Version        string
	Log            *slog.Logger
}

// A Hub is one house. Several fit in one process.
type Hub struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	damage    damage      // of a store that cannot be written
	settled   atomic.Bool // useFolder has succeeded
	keepsake  *keepsake
	started   time.Time
	clock     *clock
	people    *identity.Directory
	settings  *settings.Settings
	outbox    *outbox.Box
	model     *devices.Model
	history   *history.History
	rules     *automations.Engine
	pages     *ui.Server
	broker    *mqtt.Broker
	control   *control.Server
	mqttLn    net.Listener // nil: off
	httpLn    net.Listener // nil: off
	httpsLn   net.Listener // nil: off
	webCert   atomic.Pointer[tls.Certificate]
	listeners []*listen.Listener
	rights    atomic.Pointer[access]
	guard     *guard
	logins    logins
	rebuilt   chan *devices.House    // as it was before a rebuild; of capacity 1
	localName atomic.Pointer[string] // ".local" name that is answered for

	limitsMu    sync.Mutex  // guards the next two, and who sets the broker's limits
	asked       mqtt.Limits // by the configuration
	diskPercent int
}

// New returns a hub that is ready to Run: what the data folder holds has been
// taken up and the ports are open, but nobody is served yet. Its errors are
// sentences for people.
func New(cfg Config) (_ *Hub, err error) {
	h := &Hub{cfg: cfg, log: cfg.Log, started: time.Now(), rebuilt: make(chan *devices.House, 1)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			h.abandon()
		}
	}()
	if !store.Sync(cfg.Sync).Valid() {
		return nil, fmt.Errorf("--sync %q is none of always, interval, never: see lar --help", cfg.Sync)
	}
	connections := cfg.Limits.Connections
	if connections == 0 {
		connections = mqtt.DefaultLimits().Connections
	}
	wantDescriptors(connections, h.log)
	asked := make(chan struct{})
	go func() { defer close(asked); h.askLocalName() }()

	if h.mqttLn, err = openPort(cfg.MQTT, "--mqtt"); err != nil {
		return nil, err
	}
	if h.httpLn, err = openPort(cfg.HTTP, "--http"); err != nil {
		return nil, err
	}
	place, err := placeOf(cfg.Home)
	if err != nil {
		return nil, err
	}
	if cfg.HTTPS.Address != "" {
		if h.httpsLn, err = openPort(cfg.HTTPS.Address, "--https"); err != nil {
			return nil, err
		}
	}
	rights, err := readRights(cfg.Rights)
	if err != nil {
		return nil, err
	}
	h.rights.Store(rights)
	h.guard = newGuard(func() int { return h.rights.Load().failedLogins })
	for _, c := range cfg.Listeners {
		l, err := listen.Open(c, h.listenOptions())
		if err != nil {
			return nil, err
		}
		h.listeners = append(h.listeners, l)
	}
	if h.store, h.damage, err = openStore(store.Options{Dir: cfg.Dir, Sync: store.Sync(cfg.Sync), Log: h.log}); err != nil {
		return nil, explain(cfg.Dir, err)
	}
	if h.httpsLn != nil {
		if err := h.loadWebCertificate(cfg.HTTPS); err != nil {
			return nil, err
		}
	}
	h.keepsake = newKeepsake(cfg.Dir, h.store, h.log)
	if h.clock, err = newClock(h.store.Scan); err != nil {
		return nil, explain(cfg.Dir, err)
	}
	h.people, err = identity.Load(identity.Config{
		Store:          h.store,
		Do:             h.doDurable,
		Ready:          h.store.Ready,
		File:           peopleFile(cfg.Dir),
		AllowAnonymous: cfg.AllowAnonymous,
		Revoked:        func(identity string) { h.broker.Revoke(identity) },
		Shut:           func() { h.broker.SendAway("") },
		Log:            h.log,
	})
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	h.settings, err = settings.Load(settings.Config{
		Scan: h.store.Scan, Do: h.doDurable, Moved: h.moved, Fixed: place, Log: h.log,
	})
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	if h.model, err = devices.New(devices.Options{
		Scan: h.store.Scan, Log: h.log, Prefix: cfg.Devices.Prefix, Zigbee2MQTT: cfg.Devices.Zigbee2MQTT,
		Clock:    func() time.Time { return h.clock.now().Wall.In(h.settings.Location()) },
		Identity: h.logins.of, Forgotten: h.forgotten,
	}); err != nil {
		return nil, explain(cfg.Dir, err)
	}
	h.outbox = outbox.New(outbox.Config{Channel: h.settings.Channel, Delivered: h.delivered, Log: h.log})
	h.rules, err = automations.New(automations.Config{
		Scan: h.store.Scan, Ready: h.store.Ready, Model: h.model,
		Location: h.settings.Location(), Place: rulesPlace(h.settings.Place()),
		Send: h.outbox.Send, Channel: h.hasChannel, Log: h.log,
		Settle: devicesBack,
	})
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	h.history, err = history.New(history.Options{
		Scan: h.store.Scan, House: h.model.House, Low: h.store.Low,
		Location: h.settings.Location(), Raw: cfg.History.Raw, Budget: int64(cfg.History.Budget), Log: h.log,
	})
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	h.pages, err = ui.New(ui.Config{
		House:     h,
		People:    h.people,
		Model:     h.model,
		Rules:     h.rules,
		Settings:  h.settings,
		Sender:    h.outbox,
		History:   h.history,
		Log:       h.log,
		Version:   cfg.Version,
		Addresses: h.Addresses,
		Disk:      h.disk,
		Seen:      h.damageSeen,
	})
	if err != nil {
		return nil, err
	}
	// Rules decide on a change before pages show it, and what they change in
	// turn comes after it.
	h.model.Watch(h.rules)
	h.model.Watch(h.pages)
	h.model.Watch(h.history)
	h.broker, err = mqtt.New(mqtt.Config{
		Store:        h.keepsake,
		Clock:        h.clock.now,
		Authenticate: h.logIn,
		Enhanced:     h.enhanced,
		Authorize:    h.authorize,
		Limits:       limitsOn(cfg.Limits, cfg.DiskPercent, h.store.Stats().FreeBytes),
		Consumers:    []mqtt.Consumer{h.model, h.rules, h.history},
		Version:      cfg.Version,
		Log:          h.log,
		SetAside:     h.setAside,
		Rebuild:      h.rebuild,
		Settled:      h.store.Settle,
	})
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	h.asked, h.diskPercent = cfg.Limits, cfg.DiskPercent
	if err := h.useFolder(context.Background()); err != nil {
		if h.store.Ready() == nil {
			return nil, explain(cfg.Dir, err)
		}
		// A disk that takes nothing now will again; the house goes on.
		h.log.Error("people not saved, or no commands to be taken", "err", err)
	}
	<-asked
	return h, nil
}

// Run serves the house until ctx ends, then stops it: whoever is connected is
// told, and what was promised is on disk. A hub runs once.
func (h *Hub) Run(ctx context.Context) error {
	web := h.webServer()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var beside sync.WaitGroup
	for part, run := range map[string]func(ctx context.Context){
		"clock":    func(ctx context.Context) { h.clock.watch(ctx, h.broker.Do) },
		"name":     h.watchLocalName,
		"keepsake": h.keepsake.watch,
		"outbox":   func(ctx context.Context) { h.outbox.Run(ctx) },
		"limits":   h.watchLimits,
		"folder":   h.useFolderLater,
	} {
		beside.Go(func() { h.keep(ctx, part, run) })
	}
	if h.mqttLn != nil {
		go func() {
			if err := h.broker.Serve(h.mqttLn); err != nil {
				cancel(fmt.Errorf("serve clients: %w", err))
			}
		}()
	}
	for _, l := range h.listeners {
		go func() {
			if err := l.Serve(h.broker.ServePeer); err != nil {
				cancel(fmt.Errorf("serve clients at %s: %w", l.Addr(), err))
			}
		}()
	}
	if h.httpLn != nil {
		go func() {
			if err := web.Serve(listen.Raw(h.httpLn)); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve pages: %w", err))
			}
		}()
	}
	if h.httpsLn != nil {
		go func() {
			if err := web.ServeTLS(h.httpsLn, "", ""); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve pages over TLS: %w", err))
			}
		}()
	}
	var announcer *mdns.Announcer
	if h.cfg.MDNS {
		announcer = mdns.Announce(mdns.Config{Name: h.name, Services: h.services(), Log: h.log})
	}
	if open, why := h.Open(); open {
		h.log.Warn("clients may connect without a credential", "why", why)
	}
	beside.Go(func() { h.keep(ctx, "birth", h.announceBirth) })
	beside.Go(func() { h.keep(ctx, "rebuilt", h.findMissing) })

	<-ctx.Done()
	h.log.Info("stopping")
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		cause = nil
	}
	beside.Wait()
	return errors.Join(cause, h.stop(web, announcer))
}

// useFolder does what a start does in the data folder: people are saved, and
// commands are listened for.
func (h *Hub) useFolder(ctx context.Context) error {
	err := errors.Join(h.people.Save(ctx), h.settings.Save(ctx))
	if h.control == nil {
		var failed error
		if h.control, failed = control.Serve(h.cfg.Dir, h.people, h.pages.API("the command lar"), h.log); failed != nil {
			return errors.Join(err, failed)
		}
	}
	if err == nil {
		h.settled.Store(true)
	}
	return err
}

// useFolderLater does it once the folder can be written, if it could not be at
// the start.
func (h *Hub) useFolderLater(ctx context.Context) {
	tick := time.NewTicker(folderAgain)
	defer tick.Stop()
	for !h.settled.Load() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if h.store.Ready() != nil {
			continue
		}
		if err := h.useFolder(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("people not saved, or no commands to be taken", "err", err)
		}
	}
}

// announceBirth asks devices to announce themselves and to say their states:
// at once, and again for those who needed some time to come back.
func (h *Hub) announceBirth(ctx context.Context) {
	for _, wait := range []time.Duration{0, birthAgain} {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		err := h.Do(ctx, func(t *mqtt.Turn) error { h.model.Birth(t); return nil })
		if err != nil && ctx.Err() == nil {
			h.log.Error("birth message not sent", "err", err)
		}
	}
}

// stop ends the parts in the order in which they depend on each other.
func (h *Hub) stop(web *http.Server, announcer *mdns.Announcer) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var errs []error
	failed := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	h.closeListeners()
	if h.control != nil {
		// A socket that cannot be removed from a read-only disk is replaced by
		// the next hub.
		if err := h.control.Close(); h.store.Unwritable() == nil {
			failed("stop commands", err)
		}
	}

	h.pages.Close() // ends the live streams, which would go on for ever
	pagesCtx, cancelPages := context.WithTimeout(ctx, pagesWithin)
	if web.Shutdown(pagesCtx) != nil {
		web.Close()
	}
	cancelPages()

	if h.store.Unwritable() != nil {
		wordsCtx, cancelWords := context.WithTimeout(ctx, lastWordsWithin)
		defer cancelWords()
		h.broker.Shutdown(wordsCtx) // waits in vain for the disk
		if announcer != nil {
			announcer.Close()
		}
		failed("close the store", h.store.Close(ctx))
		return errors.Join(errs...)
	}
	failed("store the time", h.broker.Do(ctx, h.clock.store))
	failed("store the last values", h.broker.Do(ctx, func(t *mqtt.Turn) error {
		if t.Whole() == nil {
			h.model.Flush(t)
			h.rules.Flush(t)
		}
		h.history.Flush(t)
		return nil
	}))
	failed("stop the broker", h.broker.Shutdown(ctx))
	if announcer != nil {
		announcer.Close()
	}
	h.keepsake.save()
	failed("close the store", h.store.Close(ctx))
	return errors.Join(errs...)
}

// abandon closes what a New that fails has opened.
func (h *Hub) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	h.closeListeners()
	for _, ln := range []net.Listener{h.httpLn, h.httpsLn} {
		if ln != nil {
			ln.Close()
		}
	}
	if h.pages != nil {
		h.pages.Close()
	}
	if h.broker != nil {
		h.broker.Shutdown(ctx)
	}
	if h.store != nil {
		h.store.Close(ctx)
	}
}

// Do runs fn, which may call devices and automations, as one turn and returns
// when what it wrote is on disk.
func (h *Hub) Do(ctx context.Context, fn func(t *mqtt.Turn) error) error {
	return h.broker.Do(ctx, func(t *mqtt.Turn) error {
		if err := t.Whole(); err != nil {
			return err
		}
		return fn(t)
	})
}

// doDurable runs a turn that always writes: it is refused while the disk is full
// or stuck, before anything is decided. The parts that are made before the
// broker reach it by this.
func (h *Hub) doDurable(ctx context.Context, fn func(t *mqtt.Turn) error) error {
	if err := h.store.Ready(); err != nil {
		return err
	}
	return h.broker.Do(ctx, fn)
}

// Open tells whether clients without a credential may connect now, and why.
func (h *Hub) Open() (open bool, why string) {
	if h.rights.Load().users != nil && !h.cfg.AllowAnonymous {
		return false, ""
	}
	return h.people.Open()
}

// Addresses says where clients reach the hub now, for people to type.
func (h *Hub) Addresses() []ui.Address {
	local := ""
	if name := h.localName.Load(); name != nil {
		local = *name
	}
	return addresses(h.httpLn, h.httpsLn, h.mqttLn, local)
}

// disk says how the data folder is, for the owner.
func (h *Hub) disk() ui.Disk {
	st := h.store.Stats()
	d := ui.Disk{
		Lost:     h.damage.lost,
		Restored: h.damage.restored,
		Damaged:  st.Damaged,
		Low:      h.store.Low(),
		Free:     st.FreeBytes,
		Written:  st.Disk,
		Turns:    st.Turns,
		Since:    h.started,
		Messages: unseenMessages(h.cfg.Dir),
		Resting:  h.broker.Resting(),
	}
	for _, r := range store.Reports(h.cfg.Dir) {
		if !r.Seen {
			d.SetAside = append(d.SetAside, r.Folder)
			d.Rescued += r.Rescued
			d.Lost += r.Lost
			d.Restored += r.Restored
		}
	}
	if err := h.store.Ready(); err != nil {
		d.Refusing = err.Error()
	}
	d.Unwritable = h.store.Unwritable() != nil
	return d
}

// damageSeen notes that the owner has seen what was set aside.
func (h *Hub) damageSeen() error {
	if err := h.store.Ready(); err != nil {
		return err
	}
	if err := messagesSeen(h.cfg.Dir); err != nil {
		return err
	}
	for _, r := range store.Reports(h.cfg.Dir) {
		if !r.Seen {
			r.Seen = true
			if err := r.Save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// name is what the hub is called on the network.
func (h *Hub) name() string {
	if home := h.people.Home(); home != "" {
		return home
	}
	return "Lar " + h.people.Installation()
}

func (h *Hub) services() []mdns.Service {
	var list []mdns.Service
	if h.mqttLn != nil {
		list = append(list, mdns.Service{Type: "_mqtt._tcp", Port: h.mqttLn.Addr().(*net.TCPAddr).Port})
	}
	for _, l := range h.listeners {
		if at, ok := l.Addr().(*net.TCPAddr); ok && l.Type() == listen.TLS {
			list = append(list, mdns.Service{Type: "_secure-mqtt._tcp", Port: at.Port})
		}
	}
	if h.httpLn != nil {
		list = append(list, mdns.Service{Type: "_http._tcp", Port: h.httpLn.Addr().(*net.TCPAddr).Port, Text: []string{"path=/"}})
	}
	if h.httpsLn != nil {
		list = append(list, mdns.Service{Type: "_https._tcp", Port: h.httpsLn.Addr().(*net.TCPAddr).Port, Text: []string{"path=/"}})
	}
	return list
}

// askLocalName finds out whether the machine's .local name is answered for.
// Where nothing is to be announced, nothing is asked either.
func (h *Hub) askLocalName() {
	if !h.cfg.MDNS {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), localWithin)
	defer cancel()
	name := mdns.Answered(ctx)
	h.localName.Store(&name)
}

// watchLocalName asks again: at boot, who answers may start after us.
func (h *Hub) watchLocalName(ctx context.Context) {
	tick := time.NewTicker(localEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.askLocalName()
		}
	}
}
