//! The catalogue of hostile guests and front-ends: what each attack leads to, and what it costs the neighbours.
//!
//! A row is one way to do harm, by its number in the catalogue; its cases are entries of the tables in
//! [`ring`] and [`setup`] (1-24: virtqueues), [`frames`] (25-51: headers, offloads, double fetches), [`socket`] and
//! [`regions`] (52-71: the vhost-user socket) and [`floods`] (72-82 exhaustion, 91-99 control and layer 2).
//! [`run`] does each of them to a daemon beside an honest guest and checks its one outcome, that nothing
//! is left behind, and that the neighbour fared as it does when the same happens to another daemon.
//! What only a library's test can show exactly is listed in [`elsewhere`]. [`stress`] does all of it at random.

mod chance;
mod elsewhere;
mod floods;
mod frames;
mod full;
mod log;
mod neighbour;
mod regions;
mod ring;
mod row;
mod run;
mod setup;
mod socket;
mod stage;
mod stress;
