use super::*;
use crate::manager::{Manager, Profile};
use crate::pool::Pool;

/// Accounts in groups by their last digit, of which one in five cannot be dialled.
#[derive(Debug)]
struct Grouped;

impl Manager for Grouped {
    type Connection = ();
    type Error = std::io::Error;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        let mut profile = Profile::new(2);
        // Two that begin with the same, so that they have one key.
        let names = [
            "even",
            "odd",
            "a group with a rather long name: 1",
            "a group with a rather long name: 2",
        ];
        profile.group = Arc::from(names[usize::try_from(account.number() % 4).unwrap()]);
        Some(profile)
    }

    async fn connect(&self, account: AccountId, _slot: u16) -> std::io::Result<()> {
        match account.number() % 5 {
            0 => Err(std::io::Error::other("no line")),
            _ => Ok(()),
        }
    }
}

fn phone(number: u64) -> AccountId {
    AccountId::phone(442_079_460_000 + number).unwrap()
}

/// A pool of 60 accounts, of which some have done something and some are out of service.
async fn pool() -> Pool<Grouped> {
    let pool = Pool::builder(Grouped).build().unwrap();
    for number in 0..60 {
        pool.account(phone(number)).unwrap();
    }
    for number in (0..30).step_by(2) {
        drop(pool.acquire_timeout(phone(number), Duration::from_secs(1)).await);
    }
    for number in [3, 4, 31] {
        assert!(pool.quarantine(phone(number)) && pool.pause(phone(number + 9)));
    }
    pool
}

fn list(pool: &Pool<Grouped>, before: Option<&AccountListing>) -> AccountListing {
    AccountListing::make(&pool.downgrade(), &Aliases::default(), before).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_account_is_listed_as_its_summary_says() {
    let pool = pool().await;
    let listing = list(&pool, None);
    let accounts = listing.names.accounts();
    assert_eq!(accounts.len(), 60);
    for (row, account) in accounts.iter().enumerate() {
        assert_eq!(*listing.summary(row), pool.account_summary(*account).unwrap());
        let kind = &listing.kinds[listing.kind(row)];
        assert!(is_like(&kind.health, &listing.summary(row).health));
        assert_eq!(listing.groups[usize::from(kind.group)], listing.summary(row).group);
    }
    for (index, kind) in listing.kinds.iter().enumerate() {
        let of_kind = (0..60).filter(|row| listing.kind(*row) == index).count();
        assert_eq!(of_kind as u64, kind.count, "{kind:?}");
    }
    assert!((9..30).contains(&listing.summaries.len()), "{}", listing.summaries.len());
}

#[tokio::test(start_paused = true)]
async fn an_order_is_that_of_the_places_whichever_way_and_from_each_place() {
    let pool = pool().await;
    let listing = list(&pool, None);
    for sort in AccountSort::ALL {
        let mut expected: Vec<usize> = (0..60).collect();
        expected.sort_by_key(|row| listing.place(sort, *row));
        assert_eq!(listing.sorted(sort, false, None).collect::<Vec<_>>(), expected, "{sort:?}");
        let places: Vec<_> = expected.iter().map(|row| listing.place(sort, *row)).collect();
        assert!(places.is_sorted_by(|one, other| one < other), "{sort:?}: each has its own");
        let behind = listing.sorted(sort, false, Some(&places[20]));
        assert_eq!(behind.collect::<Vec<_>>(), expected[21..], "{sort:?}");
        let mut before = listing.sorted(sort, true, Some(&places[20])).collect::<Vec<_>>();
        before.reverse();
        assert_eq!(before, expected[..20], "{sort:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_listing_has_the_same_names_and_the_orders_that_were_asked_for() {
    let pool = pool().await;
    let first = list(&pool, None);
    drop(first.sorted(AccountSort::Errors, true, None));
    let second = list(&pool, Some(&first));
    assert!(Arc::ptr_eq(&first.names, &second.names));
    let is_made = |sort: AccountSort| second.orders[sort as usize].is_made();
    assert!(is_made(AccountSort::Errors) && !is_made(AccountSort::Created));
    let third = list(&pool, Some(&second));
    assert!(!third.orders[AccountSort::Errors as usize].is_made(), "nobody has asked again");
    pool.account(phone(60)).unwrap();
    let fourth = list(&pool, Some(&third));
    assert_eq!(fourth.names.accounts().len(), 61);
    assert!(!Arc::ptr_eq(&third.names, &fourth.names));
}

#[test]
fn an_account_takes_no_more_than_is_said() {
    const { assert!(size_of::<AccountLine>() <= 12 && size_of::<AccountSummary>() <= 220) };
}
