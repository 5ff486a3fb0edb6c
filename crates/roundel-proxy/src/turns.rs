//! The thread of one worker: its runtime, and the loop that carries out orders.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use roundel_model::Name;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};

use crate::accept::{self, Arrival};
use crate::config::Frontend;
use crate::deadline::SWEEP;
use crate::lent::Lent;
use crate::listening::{Gate, Listening};
use crate::pool;
use crate::rules::{FrontendLive, FrontendSlot, Rules};
use crate::shared::{Door, Order, Shared, Taken};
use crate::store::Store;
use crate::worker::Worker;

/// Events handled between two looks at the sockets. Tokio's own 61 suits multi-threaded work;
/// this thread has nothing but sockets.
const EVENT_INTERVAL: u32 = 61;

/// Starts the thread of one worker.
pub(crate) fn spawn(
    index: usize,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<JoinHandle<()>> {
    let (built, result) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(error)),
            };
            drop(built);
            live(runtime, Worker::new(index, shared), orders);
        })?;
    match result.recv() {
        Ok(error) => Err(error),
        Err(_) => Ok(thread),
    }
}

/// Runs a worker until it is told to stop, and those that follow it when it panics.
fn live(mut runtime: LocalRuntime, worker: Worker, orders: mpsc::UnboundedReceiver<Order>) {
    let orders = Rc::new(RefCell::new(orders));
    let mut worker = Rc::new(worker);
    loop {
        let main = runtime.spawn_local(run(worker.clone(), orders.clone()));
        // The panic hook has told of a panic in it.
        if runtime.block_on(main).is_ok() {
            return;
        }
        // Everything that the worker had under way ends here, and is counted.
        drop(runtime);
        if !worker.shared.note_end(worker.index, Instant::now()) {
            return;
        }
        runtime = match self::runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "worker {} cannot begin anew", worker.index);
                return worker.shared.ends.send_modify(|ends| ends.is_lost = true);
            }
        };
        worker = Rc::new(worker.successor());
    }
}

/// The runtime of a worker, which stays on the thread that makes it.
fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .on_thread_unpark(|| pool::note_turn(Instant::now()))
        .build_local(LocalOptions::default())
}

async fn run(worker: Rc<Worker>, orders: Rc<RefCell<mpsc::UnboundedReceiver<Order>>>) {
    let lent = Rc::new(Store::default());
    listen_again(&worker, &lent);
    let next = || poll_fn(|cx| orders.borrow_mut().poll_recv(cx));
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = next() => match order {
                None | Some(Order::Stop) => return,
                Some(order) => carry_out(&worker, &lent, order),
            },
            _ = sweep.tick() => {
                if worker.sweep() {
                    lent.sweep();
                }
            }
        }
    }
}

/// Accepts from everything that a predecessor accepted from.
fn listen_again(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>) {
    for listening in worker.listeners.borrow_mut().values_mut() {
        accept_from(worker, lent, listening);
    }
    for name in worker.forgotten.take() {
        forget(worker, name);
    }
}

/// Starts to accept from each socket of a listener.
fn accept_from(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>, listening: &mut Listening) {
    listening.closes.clear();
    for socket in &listening.sockets {
        let (close, closed) = oneshot::channel();
        listening.closes.push(close);
        let accepting = accept::run(
            worker.clone(),
            lent.clone(),
            listening.gate.clone(),
            socket.clone(),
            closed,
        );
        tokio::task::spawn_local(accepting);
    }
}

/// Does what the control side says.
fn carry_out(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>, order: Order) {
    match order {
        Order::Frontend { frontend, live } => install(worker, frontend, live),
        Order::Forget(name) => forget(worker, name),
        Order::Open {
            id,
            frontend,
            door,
            listeners,
        } => {
            if let Some(slot) = worker.frontend(&frontend) {
                listen(worker, lent, id, (slot, door), listeners);
            }
        }
        Order::Move { id, frontend, door } => {
            if let Some(slot) = worker.frontend(&frontend)
                && let Some(listening) = worker.listeners.borrow().get(&id)
            {
                *listening.gate.borrow_mut() = (slot, door);
            }
        }
        Order::Close { id, own } => {
            if let Some(listening) = worker.listeners.borrow_mut().remove(&id) {
                for close in listening.closes {
                    let _ = close.send(own);
                }
            }
        }
        Order::Take(taken) => take(worker, lent, taken),
        Order::Drain { close_idle_at } => {
            worker.close_idle_at.set(Some(close_idle_at));
            accept_no_more(worker);
            worker.deadlines.wake_all();
        }
        Order::CloseIdle => worker.pool.shed(),
        Order::Cut => {
            accept_no_more(worker);
            worker.deadlines.stop();
        }
        Order::CutServer { server, done } => {
            worker.deadlines.cut(&server);
            // Those who were woken have their turn before a task that begins now.
            tokio::task::spawn_local(async move { drop(done) });
        }
        // What the orders before have woken has its turn first, in this tick or the next.
        Order::Pass { done } => {
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                drop(done);
            });
        }
        // Handled by the loop.
        Order::Stop => {}
        #[cfg(debug_assertions)]
        Order::Panic => panic!("a panic that was asked for"),
    }
}

/// Begins to accept from the sockets of a new listener.
fn listen(
    worker: &Rc<Worker>,
    lent: &Rc<Store<Lent>>,
    id: u64,
    gate: (Rc<FrontendSlot>, Door),
    sockets: Vec<Arc<TcpListener>>,
) {
    let mut listening = Listening {
        gate: Gate::new(RefCell::new(gate)),
        sockets,
        closes: Vec::new(),
    };
    accept_from(worker, lent, &mut listening);
    worker.listeners.borrow_mut().insert(id, listening);
}

/// Ends each connection after its next answer, and listens no longer.
fn accept_no_more(worker: &Worker) {
    worker.draining.set(true);
    worker.listeners.borrow_mut().clear();
}

/// Serves a connection that another worker has accepted, and counted for this one.
fn take(worker: &Rc<Worker>, lent: &Rc<Store<Lent>>, taken: Taken) {
    let Some(slot) = worker.frontend(&taken.frontend) else {
        worker.cell().connections.fetch_sub(1, Relaxed);
        return;
    };
    let arrival = Arrival {
        slot,
        door: taken.door,
        stream: taken.stream,
        peer: taken.peer,
        places: taken.places,
    };
    accept::serve(worker, lent, arrival);
}

/// Takes the rules of a frontend over.
fn install(worker: &Worker, frontend: Arc<Frontend>, live: FrontendLive) {
    let name = frontend.name.clone();
    worker.forgotten.borrow_mut().remove(&name);
    let rules = Rules::new(frontend);
    let mut frontends = worker.frontends.borrow_mut();
    match frontends.get(&name) {
        Some(slot) => slot.replace(rules),
        None => {
            let slot = FrontendSlot::new(rules, live);
            frontends.insert(name, Rc::new(slot));
        }
    }
}

/// Forgets a frontend once those connections have come that another worker has accepted for
/// it and gives to this one.
fn forget(worker: &Rc<Worker>, name: Name) {
    worker.forgotten.borrow_mut().insert(name.clone());
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        tokio::time::sleep(2 * accept::GRACE).await;
        if worker.forgotten.borrow_mut().remove(&name) {
            worker.frontends.borrow_mut().remove(&name);
        }
    });
}
