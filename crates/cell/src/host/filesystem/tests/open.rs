//! What a guest has open is counted, wherever it is, and bounded.

use super::*;

impl Guest {
    fn open_files(&self) -> u64 {
        self.budget.used().files
    }

    /// Opens the file of the image.
    async fn image_file(&mut self) -> FsResult<Fd> {
        let image = lend(&self.image);
        let follow = PathFlags::SYMLINK_FOLLOW;
        let (how, flags) = (OpenFlags::empty(), DescriptorFlags::READ);
        let mut view = self.view();
        view.open_at(image, follow, "file".to_owned(), how, flags)
            .await
    }
}

#[tokio::test]
async fn one_more_than_may_be_open_is_refused_and_makes_nothing() {
    let mut guest = Guest::new(MIB).await;
    let mut open = Vec::new();
    for _ in 0..FILES / 2 {
        open.push(allowed(guest.image_file().await));
        open.push(allowed(guest.file("file").await));
    }
    assert_eq!(guest.open_files(), FILES as u64);
    assert_eq!(refused(guest.image_file().await), ErrorCode::Quota);
    assert_eq!(refused(guest.file("new").await), ErrorCode::Quota);
    assert_eq!(guest.names(), ["file"]);
    // Either kind makes room for either.
    for _ in 0..2 {
        guest.close(open.pop().unwrap());
        open.push(allowed(guest.image_file().await));
        guest.close(open.remove(0));
        open.push(allowed(guest.file("file").await));
    }
    for fd in open {
        guest.close(fd);
    }
    assert_eq!(guest.open_files(), 0);
}

#[tokio::test]
async fn what_was_not_opened_is_not_counted() {
    let mut guest = Guest::new(MIB).await;
    let (image, tmp) = (lend(&guest.image), lend(&guest.tmp));
    refused(guest.open(&image, "missing", OpenFlags::empty()).await);
    refused(guest.open(&tmp, "missing", OpenFlags::empty()).await);
    refused(guest.open(&image, "new", OpenFlags::CREATE).await);
    assert_eq!(guest.open_files(), 0);
}

#[tokio::test]
async fn a_stream_keeps_its_file_counted() {
    let mut guest = Guest::new(MIB).await;
    for of_the_image in [true, false] {
        let file = allowed(match of_the_image {
            true => guest.image_file().await,
            false => guest.file("file").await,
        });
        let reading: Resource<DynInputStream> =
            allowed(guest.view().read_via_stream(lend(&file), 0));
        guest.close(file);
        assert_eq!(guest.open_files(), 1);
        guest.table.delete(reading).unwrap();
        assert_eq!(guest.open_files(), 0);
    }
    let file = allowed(guest.file("file").await);
    let writing = allowed(guest.view().write_via_stream(lend(&file), 0));
    guest.close(file);
    assert_eq!(guest.open_files(), 1);
    guest.table.delete(writing).unwrap();
    assert_eq!(guest.open_files(), 0);
}

#[tokio::test]
async fn a_budget_that_gives_less_is_met_first() {
    let mut guest = Guest::new(MIB).await;
    guest.budget = Budget::root(&crate::Allotment {
        files: Some(1),
        ..crate::Allotment::default()
    });
    guest.files.descriptors = Descriptors::new(FILES, &guest.budget);
    let file = allowed(guest.image_file().await);
    assert_eq!(refused(guest.file("file").await), ErrorCode::Quota);
    guest.close(file);
    allowed(guest.file("file").await);
}

#[tokio::test]
async fn all_is_given_back_when_the_cell_goes() {
    let mut guest = Guest::new(MIB).await;
    for _ in 0..3 {
        allowed(guest.image_file().await);
        allowed(guest.file("file").await);
    }
    assert_eq!(guest.open_files(), 6);
    let Guest {
        table,
        files,
        budget,
        ..
    } = guest;
    drop(table);
    drop(files);
    assert_eq!(budget.used().files, 0);
}
