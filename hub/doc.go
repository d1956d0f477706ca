// Package hub puts the house together: it opens the data folder, makes the
// broker, the model of the devices, the rules and the pages, joins them, and
// starts and stops them in an order that loses nothing.
package hub
